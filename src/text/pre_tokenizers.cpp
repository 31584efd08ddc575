// Pre-tokenizers of the tokenizer.json schema: they cut the text into the pieces the model sees.
#include <algorithm>
#include <utility>

#include "text/pipeline.h"
#include "text/scan.h"
#include "text/unicode.h"

namespace hone::text {

const char* const kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behavior parse_behavior(const std::string& name) {
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  fail(ErrorKind::kBadInput, "[tokenizer] pre-tokenizer behavior '{}' is not known", name);
}

struct Section {
  Span span;
  bool match;
};

// Matches and the gaps between them, in order. Empty matches only cut.
void append_sections(Span piece, const std::vector<Span>& matches, bool invert, std::vector<Section>& sections) {
  size_t done = piece.begin;
  for (const Span& m : matches) {
    if (m.begin > done) sections.push_back({{done, m.begin}, invert});
    sections.push_back({m, !invert});
    done = m.end;
  }
  if (done < piece.end) sections.push_back({{done, piece.end}, invert});
}

void push(std::vector<Span>& out, Span s) {
  if (s.size()) out.push_back(s);
}

void cut(const std::vector<Section>& sections, Behavior behavior, std::vector<Span>& out) {
  switch (behavior) {
    case Behavior::kRemoved:
      for (const Section& s : sections)
        if (!s.match) push(out, s.span);
      return;
    case Behavior::kIsolated:
      for (const Section& s : sections) push(out, s.span);
      return;
    case Behavior::kContiguous:
      for (size_t i = 0; i < sections.size();) {
        Span span = sections[i].span;
        const bool match = sections[i].match;
        for (++i; i < sections.size() && sections[i].match == match; ++i) span.end = sections[i].span.end;
        push(out, span);
      }
      return;
    case Behavior::kMergedWithPrevious:
      for (size_t i = 0; i < sections.size(); ++i) {
        Span span = sections[i].span;
        if (!sections[i].match && i + 1 < sections.size() && sections[i + 1].match) span.end = sections[++i].span.end;
        push(out, span);
      }
      return;
    case Behavior::kMergedWithNext:
      for (size_t i = 0; i < sections.size(); ++i) {
        Span span = sections[i].span;
        if (sections[i].match && i + 1 < sections.size() && !sections[i + 1].match) span.end = sections[++i].span.end;
        push(out, span);
      }
      return;
  }
}

// Splits every piece by a matcher void(text, piece, matches).
template <typename Matcher>
class Splitter final : public PreTokenizer {
 public:
  Splitter(Matcher matcher, Behavior behavior, bool invert) : matcher_(std::move(matcher)), behavior_(behavior), invert_(invert) {}
  void apply(Pieces& pieces) const override {
    std::vector<Span> out, matches;
    std::vector<Section> sections;
    out.reserve(pieces.spans.size());
    for (const Span& piece : pieces.spans) {
      matches.clear();
      matcher_(std::string_view(pieces.buffer), piece, matches);
      if (behavior_ == Behavior::kIsolated && !invert_) {  // the common case, without the list of sections
        size_t done = piece.begin;
        for (const Span& m : matches) {
          push(out, {done, m.begin});
          push(out, m);
          done = m.end;
        }
        push(out, {done, piece.end});
        continue;
      }
      sections.clear();
      append_sections(piece, matches, invert_, sections);
      cut(sections, behavior_, out);
    }
    pieces.spans = std::move(out);
  }

 private:
  Matcher matcher_;
  Behavior behavior_;
  bool invert_;
};

// By hand where the pattern is a published one, else by PCRE2.
struct RegexMatcher {
  explicit RegexMatcher(const std::string& pattern) : scanner(find_scanner(pattern)) {
    if (!scanner) regex.emplace(pattern);
  }
  void operator()(std::string_view text, Span piece, std::vector<Span>& matches) const {
    if (scanner) scanner(text, piece, matches);
    else regex->find_all(text, piece, matches);
  }
  Scanner scanner;
  std::optional<Regex> regex;
};

struct LiteralMatcher {
  std::string literal;
  void operator()(std::string_view text, Span piece, std::vector<Span>& matches) const {
    const std::string_view inside = text.substr(piece.begin, piece.size());
    for (size_t at = inside.find(literal); at != std::string_view::npos; at = inside.find(literal, at + literal.size()))
      matches.push_back({piece.begin + at, piece.begin + at + literal.size()});
  }
};

// Every character (or run of characters) of a class is a match.
struct ClassMatcher {
  bool (*in_class)(uint32_t);
  bool runs;
  void operator()(std::string_view text, Span piece, std::vector<Span>& matches) const {
    bool previous = false;
    for (size_t i = piece.begin; i < piece.end;) {
      const Decoded d = decode_utf8(text, i);
      const bool match = in_class(d.code_point);
      if (match && runs && previous) matches.back().end = i + d.length;
      else if (match) matches.push_back({i, i + d.length});
      previous = match;
      i += d.length;
    }
  }
};

// Runs of word characters and runs of other characters; spaces between them are not matched. (A regular
// expression would do, but PCRE2's \w and that of the package `tokenizers` differ.)
struct WordMatcher {
  void operator()(std::string_view text, Span piece, std::vector<Span>& matches) const {
    int previous = 0;
    for (size_t i = piece.begin; i < piece.end;) {
      const Decoded d = decode_utf8(text, i);
      const int kind = is_whitespace(d.code_point) ? 0 : is_word(d.code_point) ? 1 : 2;
      if (kind && kind == previous) matches.back().end = i + d.length;
      else if (kind) matches.push_back({i, i + d.length});
      previous = kind;
      i += d.length;
    }
  }
};

template <typename Matcher>
std::unique_ptr<PreTokenizer> splitter(Matcher matcher, Behavior behavior, bool invert = false) {
  return std::make_unique<Splitter<Matcher>>(std::move(matcher), behavior, invert);
}

// Rewrites every piece into a new buffer; rewrite appends the new text of a piece.
template <typename Rewrite>
void rewrite_pieces(Pieces& pieces, Rewrite rewrite) {
  std::string buffer;
  buffer.reserve(pieces.buffer.size() + pieces.buffer.size() / 4 + 16);
  for (Span& s : pieces.spans) {
    const size_t begin = buffer.size();
    rewrite(pieces.text(s), s.begin, buffer);
    s = {begin, buffer.size()};
  }
  pieces.buffer = std::move(buffer);
}

class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex) : add_prefix_space_(add_prefix_space) {
    if (use_regex) split_ = splitter(RegexMatcher(kGpt2Pattern), Behavior::kIsolated);
  }
  void apply(Pieces& pieces) const override {
    if (add_prefix_space_)
      rewrite_pieces(pieces, [](std::string_view text, size_t, std::string& out) {
        if (!text.starts_with(' ')) out += ' ';
        out += text;
      });
    if (split_) split_->apply(pieces);
    const auto& alphabet = byte_alphabet();
    rewrite_pieces(pieces, [&](std::string_view text, size_t, std::string& out) {
      for (const char c : text) {
        const auto b = static_cast<uint8_t>(c);
        if (b > 0x20 && b < 0x7F) out += c;
        else out += alphabet[b];
      }
    });
  }

 private:
  bool add_prefix_space_;
  std::unique_ptr<PreTokenizer> split_;
};

class Metaspace final : public PreTokenizer {
 public:
  enum class Prepend { kAlways, kFirst, kNever };
  Metaspace(std::string replacement, Prepend prepend, bool split) : replacement_(std::move(replacement)), prepend_(prepend) {
    if (split) split_ = splitter(LiteralMatcher{replacement_}, Behavior::kMergedWithNext);
  }
  void apply(Pieces& pieces) const override {
    rewrite_pieces(pieces, [&](std::string_view text, size_t begin, std::string& out) {
      const std::string replaced = replace_all(text, " ", replacement_);
      const bool wanted = prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && pieces.at_start && begin == 0);
      if (wanted && !replaced.starts_with(replacement_)) out += replacement_;
      out += replaced;
    });
    if (split_) split_->apply(pieces);
  }

 private:
  std::string replacement_;
  Prepend prepend_;
  std::unique_ptr<PreTokenizer> split_;
};

class FixedLength final : public PreTokenizer {
 public:
  explicit FixedLength(size_t length) : length_(length) {}
  void apply(Pieces& pieces) const override {
    std::vector<Span> out;
    for (const Span& piece : pieces.spans) {
      size_t begin = piece.begin, characters = 0;
      for (size_t i = piece.begin; i < piece.end;) {
        i += decode_utf8(pieces.buffer, i).length;
        if (++characters % length_ == 0 || i >= piece.end) {
          push(out, {begin, i});
          begin = i;
        }
      }
    }
    pieces.spans = std::move(out);
  }

 private:
  size_t length_;
};

// Cuts where the script changes. As in the package `tokenizers`, characters of no script (spaces) join what is
// before them, and those before the first other character are lost.
class UnicodeScripts final : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    std::vector<Span> out;
    for (const Span& piece : pieces.spans) {
      int last = -1;
      size_t begin = piece.end;
      for (size_t i = piece.begin; i < piece.end;) {
        const Decoded d = decode_utf8(pieces.buffer, i);
        const int script = script_of(d.code_point);
        if (script != 0 && script != last) {
          if (last >= 0) push(out, {begin, i});
          begin = i;
          last = script;
        }
        i += d.length;
      }
      push(out, {begin, piece.end});
    }
    pieces.spans = std::move(out);
  }
};

class Chain final : public PreTokenizer {
 public:
  explicit Chain(std::vector<std::unique_ptr<PreTokenizer>> parts) : parts_(std::move(parts)) {}
  void apply(Pieces& pieces) const override {
    const size_t before = pieces.buffer.size();
    for (const auto& part : parts_) {
      part->apply(pieces);
      check_growth(before, pieces.buffer.size());
    }
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

using Made = std::unique_ptr<PreTokenizer>;

Made make_byte_level(const Doc& o) {
  const char* what = "pre_tokenizer ByteLevel";
  return std::make_unique<ByteLevel>(doc_bool_or(o, "add_prefix_space", true, what), doc_bool_or(o, "use_regex", true, what));
}

Made make_split(const Doc& o) {
  const char* what = "pre_tokenizer Split";
  const Behavior behavior = parse_behavior(doc_string(o, "behavior", what));
  const bool invert = doc_bool_or(o, "invert", false, what);
  const Doc& pattern = doc_member(o, "pattern", what);
  if (doc_find(pattern, "Regex")) return splitter(RegexMatcher(doc_string(pattern, "Regex", what)), behavior, invert);
  const std::string& literal = doc_string(pattern, "String", what);
  if (literal.empty()) fail(ErrorKind::kUnsupported, "[tokenizer] pre_tokenizer Split: an empty pattern");
  return splitter(LiteralMatcher{literal}, behavior, invert);
}

Made make_metaspace(const Doc& o) {
  const char* what = "pre_tokenizer Metaspace";
  using Prepend = Metaspace::Prepend;
  const std::string replacement = doc_string_or(o, "replacement", "\xE2\x96\x81", what);
  if (replacement.empty() || replacement.size() > 16) fail(ErrorKind::kBadInput, "[tokenizer] {}: 'replacement' must be one character", what);
  const std::string scheme = doc_string_or(o, "prepend_scheme", doc_bool_or(o, "add_prefix_space", true, what) ? "always" : "never", what);
  if (scheme != "always" && scheme != "first" && scheme != "never")
    fail(ErrorKind::kBadInput, "[tokenizer] {}: prepend_scheme '{}' is not known", what, scheme);
  return std::make_unique<Metaspace>(replacement, scheme == "always" ? Prepend::kAlways : scheme == "first" ? Prepend::kFirst : Prepend::kNever,
                                     doc_bool_or(o, "split", true, what));
}

Made make_delimiter(const Doc& o) {
  const std::string& delimiter = doc_string(o, "delimiter", "pre_tokenizer CharDelimiterSplit");
  if (delimiter.empty()) fail(ErrorKind::kBadInput, "[tokenizer] pre_tokenizer CharDelimiterSplit: 'delimiter' is empty");
  return splitter(LiteralMatcher{delimiter}, Behavior::kRemoved);
}

Made make_bert(const Doc&) {
  std::vector<Made> parts;
  parts.push_back(splitter(ClassMatcher{is_whitespace, false}, Behavior::kRemoved));
  parts.push_back(splitter(ClassMatcher{is_punctuation, false}, Behavior::kIsolated));
  return std::make_unique<Chain>(std::move(parts));
}

Made make_fixed_length(const Doc& o) {
  const int64_t length = doc_int_or(o, "length", 5, "pre_tokenizer FixedLength");
  if (length < 1) fail(ErrorKind::kBadInput, "[tokenizer] pre_tokenizer FixedLength: 'length' must be positive");
  return std::make_unique<FixedLength>(static_cast<size_t>(length));
}

Made make_sequence(const Doc& o) {
  std::vector<Made> parts;
  for (const Doc& part : doc_array(o, "pretokenizers", "pre_tokenizer Sequence")) parts.push_back(make_pre_tokenizer(part));
  return std::make_unique<Chain>(std::move(parts));
}

using Make = Made (*)(const Doc&);
const std::pair<const char*, Make> kPreTokenizers[] = {
    {"ByteLevel", make_byte_level},
    {"Split", make_split},
    {"Metaspace", make_metaspace},
    {"Digits",
     [](const Doc& o) {
       return splitter(ClassMatcher{is_numeric, !doc_bool_or(o, "individual_digits", false, "pre_tokenizer Digits")}, Behavior::kIsolated);
     }},
    {"Punctuation",
     [](const Doc& o) {
       return splitter(ClassMatcher{is_punctuation, false}, parse_behavior(doc_string_or(o, "behavior", "Isolated", "pre_tokenizer Punctuation")));
     }},
    {"Whitespace", [](const Doc&) { return splitter(WordMatcher{}, Behavior::kRemoved, true); }},
    {"WhitespaceSplit", [](const Doc&) { return splitter(ClassMatcher{is_whitespace, false}, Behavior::kRemoved); }},
    {"BertPreTokenizer", make_bert},
    {"CharDelimiterSplit", make_delimiter},
    {"FixedLength", make_fixed_length},
    {"UnicodeScripts", [](const Doc&) -> Made { return std::make_unique<UnicodeScripts>(); }},
    {"Sequence", make_sequence},
};

}  // namespace

Made make_pre_tokenizer(const Doc& object) {
  const std::string& type = doc_type(object, "pre_tokenizer");
  for (const auto& [name, make] : kPreTokenizers)
    if (type == name) return make(object);
  fail(ErrorKind::kUnsupported, "[tokenizer] pre_tokenizer '{}' is not supported", type);
}

Made make_byte_level_splits(const std::vector<std::string>& regexes) {
  std::vector<Made> parts;
  for (const std::string& regex : regexes) parts.push_back(splitter(RegexMatcher(regex), Behavior::kIsolated));
  parts.push_back(std::make_unique<ByteLevel>(false, false));
  return std::make_unique<Chain>(std::move(parts));
}

}  // namespace hone::text
