// Normalizers of the tokenizer.json schema.
#include <utility>

#include "text/pipeline.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

class Chain final : public Normalizer {
 public:
  explicit Chain(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  void apply(std::string& text) const override {
    const size_t before = text.size();
    for (const auto& part : parts_) {
      part->apply(text);
      check_growth(before, text.size());
    }
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

class UnicodeForm final : public Normalizer {
 public:
  explicit UnicodeForm(NormalForm form) : form_(form) {}
  void apply(std::string& text) const override { text = normalize_unicode(text, form_); }

 private:
  NormalForm form_;
};

// A normalizer that maps characters one by one.
template <typename PerCharacter>
class Mapping final : public Normalizer {
 public:
  explicit Mapping(PerCharacter map) : map_(std::move(map)) {}
  void apply(std::string& text) const override {
    std::string out;
    out.reserve(text.size());
    for (size_t i = 0; i < text.size();) {
      const Decoded d = decode_utf8(text, i);
      i += d.length;
      map_(out, d.code_point);
    }
    text = std::move(out);
  }

 private:
  PerCharacter map_;
};
template <typename PerCharacter>
std::unique_ptr<Normalizer> mapping(PerCharacter map) {
  return std::make_unique<Mapping<PerCharacter>>(std::move(map));
}

void drop_marks(std::string& out, uint32_t c) {
  if (!is_nonspacing_mark(c)) append_utf8(out, c);
}

void drop_all_marks(std::string& out, uint32_t c) {
  if (!is_mark(c)) append_utf8(out, c);
}

// SentencePiece's "nmt" rules: controls vanish, exotic spaces become a space.
void nmt(std::string& out, uint32_t c) {
  const bool dropped = (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
  const bool space = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
                     c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
  if (dropped) return;
  append_utf8(out, space ? ' ' : c);
}

void to_byte_alphabet(std::string& out, uint32_t c) {
  std::string bytes;
  append_utf8(bytes, c);
  for (const char b : bytes) out += byte_alphabet()[static_cast<uint8_t>(b)];
}

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(std::string& text) const override {
    size_t begin = 0, end = 0;
    bool any = false;
    for (size_t i = 0; i < text.size();) {
      const Decoded d = decode_utf8(text, i);
      if (!is_whitespace(d.code_point)) {
        if (!any) begin = i;
        any = true;
        end = i + d.length;
      }
      i += d.length;
    }
    if (!any) begin = left_ ? text.size() : 0;
    if (!left_) begin = 0;
    if (!right_) end = text.size();
    text = end > begin ? text.substr(begin, end - begin) : std::string();
  }

 private:
  bool left_, right_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(std::string& text) const override {
    if (!text.empty()) text.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

class ReplaceText final : public Normalizer {
 public:
  ReplaceText(std::string from, std::string to) : from_(std::move(from)), to_(std::move(to)) {}
  void apply(std::string& text) const override { text = replace_all(text, from_, to_); }

 private:
  std::string from_, to_;
};

class ReplaceRegex final : public Normalizer {
 public:
  ReplaceRegex(const std::string& pattern, std::string to) : regex_(pattern), to_(std::move(to)) {}
  void apply(std::string& text) const override {
    std::vector<Span> matches;
    regex_.find_all(text, {0, text.size()}, matches);
    std::string out;
    size_t done = 0;
    for (const Span& m : matches) {
      out.append(text, done, m.begin - done).append(to_);
      done = m.end;
      check_growth(text.size(), out.size());
    }
    out.append(text, done);
    text = std::move(out);
  }

 private:
  Regex regex_;
  std::string to_;
};

class Bert final : public Normalizer {
 public:
  Bert(bool clean, bool chinese, bool strip, bool lower) : clean_(clean), chinese_(chinese), strip_(strip), lower_(lower) {}
  void apply(std::string& text) const override {
    std::string out;
    out.reserve(text.size());
    for (size_t i = 0; i < text.size();) {
      const Decoded d = decode_utf8(text, i);
      i += d.length;
      uint32_t c = d.code_point;
      if (clean_ && (c == 0 || c == 0xFFFD || is_control(c))) continue;
      if (clean_ && is_whitespace(c)) c = ' ';
      if (chinese_ && is_cjk(c)) {
        out += ' ';
        append_utf8(out, c);
        out += ' ';
      } else {
        append_utf8(out, c);
      }
    }
    text = std::move(out);
    if (strip_) {
      text = normalize_unicode(text, NormalForm::kNfd);
      mapping(drop_marks)->apply(text);
    }
    if (lower_) mapping(append_lower)->apply(text);
  }

 private:
  bool clean_, chinese_, strip_, lower_;
};

std::unique_ptr<Normalizer> make_replace(const Doc& object) {
  const std::string& to = doc_string(object, "content", "normalizer Replace");
  const Doc& pattern = doc_member(object, "pattern", "normalizer Replace");
  if (const Doc* regex = doc_find(pattern, "Regex"); regex && regex->is_string())
    return std::make_unique<ReplaceRegex>(regex->get<std::string>(), to);
  const std::string& from = doc_string(pattern, "String", "normalizer Replace");
  if (from.empty()) fail(ErrorKind::kUnsupported, "[tokenizer] normalizer Replace: an empty pattern");
  return std::make_unique<ReplaceText>(from, to);
}

std::unique_ptr<Normalizer> make_sequence(const Doc& object) {
  std::vector<std::unique_ptr<Normalizer>> parts;
  for (const Doc& part : doc_array(object, "normalizers", "normalizer Sequence")) parts.push_back(make_normalizer(part));
  return std::make_unique<Chain>(std::move(parts));
}

std::unique_ptr<Normalizer> make_bert(const Doc& object) {
  const char* what = "normalizer BertNormalizer";
  const bool lower = doc_bool_or(object, "lowercase", true, what);
  return std::make_unique<Bert>(doc_bool_or(object, "clean_text", true, what), doc_bool_or(object, "handle_chinese_chars", true, what),
                                doc_bool_or(object, "strip_accents", lower, what), lower);
}

std::unique_ptr<Normalizer> make_strip(const Doc& object) {
  return std::make_unique<Strip>(doc_bool_or(object, "strip_left", true, "normalizer Strip"),
                                 doc_bool_or(object, "strip_right", true, "normalizer Strip"));
}

std::unique_ptr<Normalizer> make_prepend(const Doc& object) {
  const std::string& prefix = doc_string(object, "prepend", "normalizer Prepend");
  if (prefix.size() > 256) fail(ErrorKind::kUnsupported, "[tokenizer] normalizer Prepend: a prefix of {} bytes", prefix.size());
  return std::make_unique<Prepend>(prefix);
}

using Make = std::unique_ptr<Normalizer> (*)(const Doc&);
const std::pair<const char*, Make> kNormalizers[] = {
    {"NFC", [](const Doc&) -> std::unique_ptr<Normalizer> { return std::make_unique<UnicodeForm>(NormalForm::kNfc); }},
    {"NFD", [](const Doc&) -> std::unique_ptr<Normalizer> { return std::make_unique<UnicodeForm>(NormalForm::kNfd); }},
    {"NFKC", [](const Doc&) -> std::unique_ptr<Normalizer> { return std::make_unique<UnicodeForm>(NormalForm::kNfkc); }},
    {"NFKD", [](const Doc&) -> std::unique_ptr<Normalizer> { return std::make_unique<UnicodeForm>(NormalForm::kNfkd); }},
    {"Lowercase", [](const Doc&) { return mapping(append_lower); }},
    {"StripAccents", [](const Doc&) { return mapping(drop_all_marks); }},
    {"Nmt", [](const Doc&) { return mapping(nmt); }},
    {"ByteLevel", [](const Doc&) { return mapping(to_byte_alphabet); }},
    {"Strip", make_strip},
    {"Prepend", make_prepend},
    {"Replace", make_replace},
    {"BertNormalizer", make_bert},
    {"Precompiled", make_precompiled},
    {"Sequence", make_sequence},
};

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const Doc& object) {
  const std::string& type = doc_type(object, "normalizer");
  for (const auto& [name, make] : kNormalizers)
    if (type == name) return make(object);
  fail(ErrorKind::kUnsupported, "[tokenizer] normalizer '{}' is not supported", type);
}

}  // namespace hone::text
