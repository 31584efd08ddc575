// tokenizer.json (Hugging Face tokenizers) and the few keys of tokenizer_config.json that change ids.
#include <algorithm>

#include "text/pipeline_tokenizer.h"

namespace hone::text {
namespace {

std::vector<AddedToken> read_added_tokens(const Doc& root, const Vocabulary& vocabulary) {
  std::vector<AddedToken> added;
  const Doc* list = doc_find(root, "added_tokens");
  if (!list) return added;
  if (!list->is_array()) fail(ErrorKind::kBadInput, "[tokenizer] tokenizer.json: 'added_tokens' must be a list");
  const char* what = "tokenizer.json added token";
  for (const Doc& entry : *list) {
    AddedToken token;
    token.content = doc_string(entry, "content", what);
    const int64_t id = doc_int(entry, "id", what);
    if (id < 0 || id > static_cast<int64_t>(vocabulary.size() + list->size() + (1u << 17)))
      fail(ErrorKind::kBadInput, "[tokenizer] {} '{}': id {} is out of range", what, token.content.substr(0, 100), id);
    token.id = vocabulary.find(token.content).value_or(static_cast<TokenId>(id));
    token.special = doc_bool_or(entry, "special", false, what);
    token.single_word = doc_bool_or(entry, "single_word", false, what);
    token.lstrip = doc_bool_or(entry, "lstrip", false, what);
    token.rstrip = doc_bool_or(entry, "rstrip", false, what);
    token.normalized = doc_bool_or(entry, "normalized", !token.special, what);
    added.push_back(std::move(token));
  }
  return added;
}

// Classes that build BOS and EOS from their flags and ignore the file's template.
bool rebuilds_template(const std::string& tokenizer_class) {
  static constexpr const char* kClasses[] = {"LlamaTokenizer", "LlamaTokenizerFast", "CodeLlamaTokenizer", "CodeLlamaTokenizerFast",
                                             "GemmaTokenizer", "GemmaTokenizerFast", "CohereTokenizer",   "CohereTokenizerFast"};
  return std::find(std::begin(kClasses), std::end(kClasses), tokenizer_class) != std::end(kClasses);
}

void apply_config(const Doc& config, TokenizerParts& parts) {
  const char* what = "tokenizer_config.json";
  const auto find = [&](const char* key) -> std::optional<TokenId> {
    const auto name = config_token(config, key);
    if (!name) return std::nullopt;
    for (const AddedToken& token : parts.added)
      if (token.content == *name) return token.id;
    return parts.model->vocabulary().find(*name);
  };
  parts.bos = find("bos_token");
  parts.eos = find("eos_token");
  if (!rebuilds_template(doc_string_or(config, "tokenizer_class", "", what))) return;
  if (!doc_find(config, "add_bos_token") && !doc_find(config, "add_eos_token")) return;
  std::vector<TokenId> before, after;
  if (doc_bool_or(config, "add_bos_token", true, what)) {
    if (!parts.bos) fail(ErrorKind::kBadInput, "[tokenizer] {}: add_bos_token is set but bos_token names no token", what);
    before.push_back(*parts.bos);
  }
  if (doc_bool_or(config, "add_eos_token", false, what)) {
    if (!parts.eos) fail(ErrorKind::kBadInput, "[tokenizer] {}: add_eos_token is set but eos_token names no token", what);
    after.push_back(*parts.eos);
  }
  parts.post_processor = make_affixes(std::move(before), std::move(after));
}

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_from_json(std::string_view tokenizer_json, std::string_view tokenizer_config_json) {
  const Doc root = parse_document(tokenizer_json, "tokenizer.json");
  if (!root.is_object()) fail(ErrorKind::kBadInput, "[tokenizer] tokenizer.json: not an object");
  TokenizerParts parts;
  parts.model = make_model(doc_member(root, "model", "tokenizer.json"));
  if (const Doc* part = doc_find(root, "normalizer")) parts.normalizer = make_normalizer(*part);
  if (const Doc* part = doc_find(root, "pre_tokenizer")) parts.pre_tokenizer = make_pre_tokenizer(*part);
  if (const Doc* part = doc_find(root, "post_processor")) parts.post_processor = make_post_processor(*part);
  if (const Doc* part = doc_find(root, "decoder")) parts.decoder = make_decoder(*part);
  parts.added = read_added_tokens(root, parts.model->vocabulary());
  if (!tokenizer_config_json.empty()) {
    const Doc config = parse_document(tokenizer_config_json, "tokenizer_config.json");
    if (!config.is_object()) fail(ErrorKind::kBadInput, "[tokenizer] tokenizer_config.json: not an object");
    apply_config(config, parts);
  }
  parts.tokenizer_json = tokenizer_json;
  parts.config_json = tokenizer_config_json;
  return make_pipeline_tokenizer(std::move(parts));
}

}  // namespace hone::text
