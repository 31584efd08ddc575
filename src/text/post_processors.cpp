// Post-processors: the tokens that a model wants around a text, or around two.
#include <algorithm>
#include <utility>

#include "text/pipeline.h"

namespace hone::text {
namespace {

// What stands around one text, and around two.
struct Frame {
  std::vector<TokenId> before, after;
};
struct PairFrame {
  std::vector<TokenId> before, between, after;
  bool swapped = false;  // the second text stands first
};

class Affixes final : public PostProcessor {
 public:
  Affixes(Frame single, std::optional<PairFrame> pair) : single_(std::move(single)), pair_(std::move(pair)) {}
  std::vector<TokenId> apply(std::vector<TokenId> ids) const override {
    ids.insert(ids.begin(), single_.before.begin(), single_.before.end());
    ids.insert(ids.end(), single_.after.begin(), single_.after.end());
    return ids;
  }
  std::vector<TokenId> apply_pair(std::vector<TokenId> first, std::vector<TokenId> second) const override {
    if (!pair_) fail(ErrorKind::kUnsupported, "[tokenizer] this tokenizer's post-processor has no form for two texts");
    if (pair_->swapped) std::swap(first, second);
    std::vector<TokenId> ids = pair_->before;
    const std::vector<TokenId>* parts[] = {&first, &pair_->between, &second, &pair_->after};
    for (const auto* part : parts) ids.insert(ids.end(), part->begin(), part->end());
    return ids;
  }
  bool is_identity() const override { return single_.before.empty() && single_.after.empty(); }

 private:
  Frame single_;
  std::optional<PairFrame> pair_;
};

class Chain final : public PostProcessor {
 public:
  explicit Chain(std::vector<std::unique_ptr<PostProcessor>> parts) : parts_(std::move(parts)) {}
  std::vector<TokenId> apply(std::vector<TokenId> ids) const override {
    for (const auto& part : parts_) ids = part->apply(std::move(ids));
    return ids;
  }
  std::vector<TokenId> apply_pair(std::vector<TokenId> first, std::vector<TokenId> second) const override {
    const PostProcessor* acting = nullptr;
    for (const auto& part : parts_) {
      if (part->is_identity()) continue;
      if (acting) fail(ErrorKind::kUnsupported, "[tokenizer] a Sequence of post-processors that both add tokens has no form for two texts here");
      acting = part.get();
    }
    if (acting) return acting->apply_pair(std::move(first), std::move(second));
    first.insert(first.end(), second.begin(), second.end());
    return first;
  }
  bool is_identity() const override {
    return std::all_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->is_identity(); });
  }

 private:
  std::vector<std::unique_ptr<PostProcessor>> parts_;
};

TokenId checked_id(const Doc& value, const char* what) {
  if (!value.is_number_integer() || value.get<int64_t>() < 0 || value.get<int64_t>() > 0x7FFFFFFF)
    fail(ErrorKind::kBadInput, "[tokenizer] {}: a token id is out of range", what);
  return static_cast<TokenId>(value.get<int64_t>());
}

// The runs of special tokens before, between and behind the texts of a template, and the texts' names.
struct Template {
  std::vector<std::vector<TokenId>> runs{{}};
  std::string texts;  // "A", "AB" or "BA"
};
Template read_template(const Doc& object, const char* key, const char* what) {
  Template result;
  for (const Doc& item : doc_array(object, key, what)) {
    if (const Doc* sequence = doc_find(item, "Sequence")) {
      result.texts += doc_string(*sequence, "id", what);
      result.runs.emplace_back();
      if (result.runs.size() > 3) fail(ErrorKind::kUnsupported, "[tokenizer] {}: a template that repeats the text", what);
      continue;
    }
    const std::string& name = doc_string(doc_member(item, "SpecialToken", what), "id", what);
    const Doc& token = doc_member(doc_member(object, "special_tokens", what), name.c_str(), what);
    for (const Doc& id : doc_array(token, "ids", what)) result.runs.back().push_back(checked_id(id, what));
  }
  return result;
}

std::unique_ptr<PostProcessor> make_template(const Doc& object) {
  const char* what = "post_processor TemplateProcessing";
  Template single = read_template(object, "single", what);
  if (single.texts != "A") fail(ErrorKind::kUnsupported, "[tokenizer] {}: the template of one text is not one text", what);
  std::optional<PairFrame> pair;
  if (doc_find(object, "pair")) {
    Template two = read_template(object, "pair", what);
    if (two.texts == "AB" || two.texts == "BA")
      pair = PairFrame{std::move(two.runs[0]), std::move(two.runs[1]), std::move(two.runs[2]), two.texts == "BA"};
  }
  return std::make_unique<Affixes>(Frame{std::move(single.runs[0]), std::move(single.runs[1])}, std::move(pair));
}

// BERT: cls A sep B sep; RoBERTa: cls A sep sep B sep.
std::unique_ptr<PostProcessor> make_cls_sep(const Doc& object, bool twice) {
  const char* what = "post_processor BertProcessing";
  const auto read = [&](const char* key) {
    const Doc& pair = doc_array(object, key, what);
    if (pair.size() != 2) fail(ErrorKind::kBadInput, "[tokenizer] {}: '{}' must be [token, id]", what, key);
    return checked_id(pair[1], what);
  };
  const TokenId cls = read("cls"), sep = read("sep");
  return std::make_unique<Affixes>(Frame{{cls}, {sep}}, PairFrame{{cls}, std::vector<TokenId>(twice ? 2 : 1, sep), {sep}, false});
}

std::unique_ptr<PostProcessor> make_sequence(const Doc& object) {
  std::vector<std::unique_ptr<PostProcessor>> parts;
  for (const Doc& part : doc_array(object, "processors", "post_processor Sequence")) parts.push_back(make_post_processor(part));
  return std::make_unique<Chain>(std::move(parts));
}

}  // namespace

std::unique_ptr<PostProcessor> make_affixes(std::vector<TokenId> before, std::vector<TokenId> after) {
  // Two texts: each with its own tokens, as classes that build BOS and EOS do.
  std::vector<TokenId> between = after;
  between.insert(between.end(), before.begin(), before.end());
  PairFrame pair{before, std::move(between), after, false};
  return std::make_unique<Affixes>(Frame{std::move(before), std::move(after)}, std::move(pair));
}

std::unique_ptr<PostProcessor> make_post_processor(const Doc& object) {
  using Make = std::unique_ptr<PostProcessor> (*)(const Doc&);
  static constexpr std::pair<const char*, Make> kProcessors[] = {
      {"TemplateProcessing", make_template},
      {"BertProcessing", [](const Doc& o) { return make_cls_sep(o, false); }},
      {"RobertaProcessing", [](const Doc& o) { return make_cls_sep(o, true); }},
      {"ByteLevel", [](const Doc&) { return make_affixes({}, {}); }},  // offsets only
      {"Sequence", make_sequence},
  };
  const std::string& type = doc_type(object, "post_processor");
  for (const auto& [name, make] : kProcessors)
    if (type == name) return make(object);
  fail(ErrorKind::kUnsupported, "[tokenizer] post_processor '{}' is not supported", type);
}

}  // namespace hone::text
