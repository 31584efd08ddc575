// Post-processors: the tokens that a model wants around a text (single sequences only).
#include <utility>

#include "text/pipeline.h"

namespace hone::text {
namespace {

class Affixes final : public PostProcessor {
 public:
  Affixes(std::vector<TokenId> before, std::vector<TokenId> after) : before_(std::move(before)), after_(std::move(after)) {}
  std::vector<TokenId> apply(std::vector<TokenId> ids) const override {
    ids.insert(ids.begin(), before_.begin(), before_.end());
    ids.insert(ids.end(), after_.begin(), after_.end());
    return ids;
  }

 private:
  std::vector<TokenId> before_, after_;
};

class Chain final : public PostProcessor {
 public:
  explicit Chain(std::vector<std::unique_ptr<PostProcessor>> parts) : parts_(std::move(parts)) {}
  std::vector<TokenId> apply(std::vector<TokenId> ids) const override {
    for (const auto& part : parts_) ids = part->apply(std::move(ids));
    return ids;
  }

 private:
  std::vector<std::unique_ptr<PostProcessor>> parts_;
};

TokenId checked_id(const Doc& value, const char* what) {
  if (!value.is_number_integer() || value.get<int64_t>() < 0 || value.get<int64_t>() > 0x7FFFFFFF)
    fail(ErrorKind::kBadInput, "[tokenizer] {}: a token id is out of range", what);
  return static_cast<TokenId>(value.get<int64_t>());
}

std::unique_ptr<PostProcessor> make_template(const Doc& object) {
  const char* what = "post_processor TemplateProcessing";
  std::vector<TokenId> sides[2];
  int sequences = 0;
  for (const Doc& item : doc_array(object, "single", what)) {
    if (doc_find(item, "Sequence")) {
      if (++sequences > 1) fail(ErrorKind::kUnsupported, "[tokenizer] {}: a template that repeats the text", what);
      continue;
    }
    const std::string& name = doc_string(doc_member(item, "SpecialToken", what), "id", what);
    const Doc& token = doc_member(doc_member(object, "special_tokens", what), name.c_str(), what);
    for (const Doc& id : doc_array(token, "ids", what)) sides[sequences].push_back(checked_id(id, what));
  }
  if (sequences == 0) fail(ErrorKind::kUnsupported, "[tokenizer] {}: a template without the text", what);
  return make_affixes(std::move(sides[0]), std::move(sides[1]));
}

std::unique_ptr<PostProcessor> make_cls_sep(const Doc& object) {
  const char* what = "post_processor BertProcessing";
  const auto read = [&](const char* key) {
    const Doc& pair = doc_array(object, key, what);
    if (pair.size() != 2) fail(ErrorKind::kBadInput, "[tokenizer] {}: '{}' must be [token, id]", what, key);
    return checked_id(pair[1], what);
  };
  return make_affixes({read("cls")}, {read("sep")});
}

std::unique_ptr<PostProcessor> make_sequence(const Doc& object) {
  std::vector<std::unique_ptr<PostProcessor>> parts;
  for (const Doc& part : doc_array(object, "processors", "post_processor Sequence")) parts.push_back(make_post_processor(part));
  return std::make_unique<Chain>(std::move(parts));
}

}  // namespace

std::unique_ptr<PostProcessor> make_affixes(std::vector<TokenId> before, std::vector<TokenId> after) {
  return std::make_unique<Affixes>(std::move(before), std::move(after));
}

std::unique_ptr<PostProcessor> make_post_processor(const Doc& object) {
  using Make = std::unique_ptr<PostProcessor> (*)(const Doc&);
  static constexpr std::pair<const char*, Make> kProcessors[] = {
      {"TemplateProcessing", make_template},
      {"BertProcessing", make_cls_sep},
      {"RobertaProcessing", make_cls_sep},  // differs for pairs only
      {"ByteLevel", [](const Doc&) { return make_affixes({}, {}); }},  // offsets only
      {"Sequence", make_sequence},
  };
  const std::string& type = doc_type(object, "post_processor");
  for (const auto& [name, make] : kProcessors)
    if (type == name) return make(object);
  fail(ErrorKind::kUnsupported, "[tokenizer] post_processor '{}' is not supported", type);
}

}  // namespace hone::text
