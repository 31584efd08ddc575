// Decoders of the tokenizer.json schema: from token strings back to text.
#include <algorithm>
#include <utility>

#include "text/pipeline.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

// Bytes of a token in the byte alphabet; a token with any other character stands for itself.
std::string alphabet_bytes(std::string_view token) {
  std::string out;
  for (size_t i = 0; i < token.size();) {
    const Decoded d = decode_utf8(token, i);
    const int byte = d.valid ? byte_of_alphabet(d.code_point) : -1;
    if (byte < 0) return std::string(token);
    out += static_cast<char>(byte);
    i += d.length;
  }
  return out;
}

class ByteLevel final : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string bytes;
    for (const std::string& t : tokens) bytes += alphabet_bytes(t);
    tokens.assign(1, to_valid_utf8(bytes));
  }
  void apply_one(std::string& token) const override { token = alphabet_bytes(token); }
};

class Metaspace final : public Decoder {
 public:
  Metaspace(std::string replacement, bool drop_first) : replacement_(std::move(replacement)), drop_first_(drop_first) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::string_view token = tokens[i];
      if (i == 0 && drop_first_ && token.starts_with(replacement_)) token.remove_prefix(replacement_.size());
      tokens[i] = replace_all(token, replacement_, " ");
    }
  }
  void apply_one(std::string& token) const override { token = replace_all(token, replacement_, " "); }

 private:
  std::string replacement_;
  bool drop_first_;
};

// What the package `tokenizers` tidies for WordPiece.
void clean_up(std::string& token) {
  static constexpr std::pair<const char*, const char*> kRules[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},     {" ' ", "'"},  {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
  };
  for (const auto& [from, to] : kRules) token = replace_all(token, from, to);
}

class WordPiece final : public Decoder {
 public:
  WordPiece(std::string prefix, bool cleanup) : prefix_(std::move(prefix)), cleanup_(cleanup) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) join(tokens[i]);
      if (cleanup_) clean_up(tokens[i]);
    }
  }
  void apply_one(std::string& token) const override {
    join(token);
    if (cleanup_) clean_up(token);
  }

 private:
  void join(std::string& token) const {
    if (!prefix_.empty() && token.starts_with(prefix_)) token.erase(0, prefix_.size());
    else token.insert(0, " ");
  }
  std::string prefix_;
  bool cleanup_;
};

class BpeSuffix final : public Decoder {
 public:
  explicit BpeSuffix(std::string suffix) : suffix_(std::move(suffix)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
  }
  void apply_one(std::string& token) const override { token = replace_all(token, suffix_, " "); }

 private:
  std::string suffix_;
};

class ByteFallback final : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (is_valid_utf8(bytes)) {
        out.push_back(std::move(bytes));
      } else {
        for (size_t i = 0; i < bytes.size(); ++i) out.emplace_back("\xEF\xBF\xBD");  // one per byte
      }
      bytes.clear();
    };
    for (std::string& token : tokens) {
      const int byte = byte_of_token(token);
      if (byte >= 0) {
        bytes += static_cast<char>(byte);
      } else {
        flush();
        out.push_back(std::move(token));
      }
    }
    flush();
    tokens = std::move(out);
  }
  void apply_one(std::string& token) const override {
    if (const int byte = byte_of_token(token); byte >= 0) token.assign(1, static_cast<char>(byte));
  }
};

// Connectionist temporal classification: equal neighbours are one, the pad token is none.
class Ctc final : public Decoder {
 public:
  Ctc(std::string pad, std::string delimiter, bool cleanup) : pad_(std::move(pad)), delimiter_(std::move(delimiter)), cleanup_(cleanup) {}
  void apply(std::vector<std::string>& tokens) const override {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    std::vector<std::string> out;
    for (std::string& token : tokens) {
      apply_one(token);
      if (!token.empty()) out.push_back(std::move(token));
    }
    tokens = std::move(out);
  }
  void apply_one(std::string& token) const override {
    if (!pad_.empty()) token = replace_all(token, pad_, "");
    if (!cleanup_) return;
    clean_up(token);
    if (!delimiter_.empty()) token = replace_all(token, delimiter_, " ");
  }

 private:
  std::string pad_, delimiter_;
  bool cleanup_;
};

class Fuse final : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string all;
    for (const std::string& t : tokens) all += t;
    tokens.assign(1, std::move(all));
  }
  void apply_one(std::string&) const override {}
};

class Strip final : public Decoder {
 public:
  Strip(std::string content, size_t start, size_t stop) : content_(std::move(content)), start_(start), stop_(stop) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      std::string_view rest = token;
      for (size_t i = 0; i < start_ && rest.starts_with(content_); ++i) rest.remove_prefix(content_.size());
      for (size_t i = 0; i < stop_ && rest.ends_with(content_); ++i) rest.remove_suffix(content_.size());
      token = std::string(rest);
    }
  }
  void apply_one(std::string&) const override {}  // concerns the ends of the whole text

 private:
  std::string content_;
  size_t start_, stop_;
};

class Replace final : public Decoder {
 public:
  Replace(std::string from, std::string to) : from_(std::move(from)), to_(std::move(to)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& t : tokens) t = replace_all(t, from_, to_);
  }
  void apply_one(std::string& token) const override { token = replace_all(token, from_, to_); }

 private:
  std::string from_, to_;
};

class ReplaceRegex final : public Decoder {
 public:
  ReplaceRegex(const std::string& pattern, std::string to) : regex_(pattern), to_(std::move(to)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& t : tokens) apply_one(t);
  }
  void apply_one(std::string& token) const override {
    if (!is_valid_utf8(token)) return;
    start_regex_budget(token.size());
    std::vector<Span> matches;
    regex_.find_all(token, {0, token.size()}, matches);
    std::string out;
    size_t done = 0;
    for (const Span& m : matches) {
      out.append(token, done, m.begin - done).append(to_);
      done = m.end;
      check_growth(token.size(), out.size());
    }
    token = out.append(token, done);
  }

 private:
  Regex regex_;
  std::string to_;
};

class Chain final : public Decoder {
 public:
  explicit Chain(std::vector<std::unique_ptr<Decoder>> parts) : parts_(std::move(parts)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (const auto& part : parts_) part->apply(tokens);
  }
  void apply_one(std::string& token) const override {
    const size_t before = token.size();
    for (const auto& part : parts_) {
      part->apply_one(token);
      check_growth(before, token.size());
    }
  }

 private:
  std::vector<std::unique_ptr<Decoder>> parts_;
};

using Made = std::unique_ptr<Decoder>;

Made make_metaspace(const Doc& o) {
  const char* what = "decoder Metaspace";
  const std::string replacement = doc_string_or(o, "replacement", "\xE2\x96\x81", what);
  if (replacement.empty()) fail(ErrorKind::kBadInput, "[tokenizer] {}: 'replacement' is empty", what);
  const std::string scheme = doc_string_or(o, "prepend_scheme", doc_bool_or(o, "add_prefix_space", true, what) ? "always" : "never", what);
  return std::make_unique<Metaspace>(replacement, scheme != "never");
}

Made make_word_piece(const Doc& o) {
  const char* what = "decoder WordPiece";
  return std::make_unique<WordPiece>(doc_string_or(o, "prefix", "##", what), doc_bool_or(o, "cleanup", true, what));
}

Made make_bpe_suffix(const Doc& o) {
  const std::string suffix = doc_string_or(o, "suffix", "</w>", "decoder BPEDecoder");
  if (suffix.empty()) fail(ErrorKind::kUnsupported, "[tokenizer] decoder BPEDecoder: an empty suffix");
  return std::make_unique<BpeSuffix>(suffix);
}

Made make_strip(const Doc& o) {
  const char* what = "decoder Strip";
  const std::string& content = doc_string(o, "content", what);
  if (content.empty()) fail(ErrorKind::kBadInput, "[tokenizer] {}: 'content' is empty", what);
  const int64_t start = doc_int_or(o, "start", 0, what), stop = doc_int_or(o, "stop", 0, what);
  if (start < 0 || stop < 0) fail(ErrorKind::kBadInput, "[tokenizer] {}: a negative count", what);
  return std::make_unique<Strip>(content, static_cast<size_t>(start), static_cast<size_t>(stop));
}

Made make_replace(const Doc& o) {
  const char* what = "decoder Replace";
  const Doc& pattern = doc_member(o, "pattern", what);
  const bool regex = doc_find(pattern, "Regex") != nullptr;
  const std::string& from = doc_string(pattern, regex ? "Regex" : "String", what);
  if (from.empty()) fail(ErrorKind::kUnsupported, "[tokenizer] {}: an empty pattern", what);
  const std::string& to = doc_string(o, "content", what);
  if (to.size() > 256) fail(ErrorKind::kUnsupported, "[tokenizer] {}: a replacement of {} bytes", what, to.size());
  if (regex) return std::make_unique<ReplaceRegex>(from, to);
  return std::make_unique<Replace>(from, to);
}

Made make_sequence(const Doc& o) {
  std::vector<Made> parts;
  for (const Doc& part : doc_array(o, "decoders", "decoder Sequence")) parts.push_back(make_decoder(part));
  return std::make_unique<Chain>(std::move(parts));
}

}  // namespace

Made make_decoder(const Doc& object) {
  using Make = Made (*)(const Doc&);
  static constexpr std::pair<const char*, Make> kDecoders[] = {
      {"ByteLevel", [](const Doc&) -> Made { return std::make_unique<ByteLevel>(); }},
      {"Metaspace", make_metaspace},
      {"WordPiece", make_word_piece},
      {"BPEDecoder", make_bpe_suffix},
      {"ByteFallback", [](const Doc&) -> Made { return std::make_unique<ByteFallback>(); }},
      {"CTC",
       [](const Doc& o) -> Made {
         return std::make_unique<Ctc>(doc_string_or(o, "pad_token", "<pad>", "decoder CTC"),
                                      doc_string_or(o, "word_delimiter_token", "|", "decoder CTC"), doc_bool_or(o, "cleanup", true, "decoder CTC"));
       }},
      {"Fuse", [](const Doc&) -> Made { return std::make_unique<Fuse>(); }},
      {"Strip", make_strip},
      {"Replace", make_replace},
      {"Sequence", make_sequence},
  };
  const std::string& type = doc_type(object, "decoder");
  for (const auto& [name, make] : kDecoders)
    if (type == name) return make(object);
  fail(ErrorKind::kUnsupported, "[tokenizer] decoder '{}' is not supported", type);
}

}  // namespace hone::text
