// Tokenizer and chat template of a checkpoint, wherever its container keeps them.
#include "base/error.h"
#include "base/json.h"
#include "models/model.h"

namespace hone::models {

namespace {

const std::string* find_text(const tensor::Checkpoint& checkpoint, const char* name) {
  const auto found = checkpoint.texts.find(name);
  return found == checkpoint.texts.end() ? nullptr : &found->second;
}

text::VocabSpec read_vocab_spec(const tensor::Checkpoint& checkpoint) {
  const tensor::Metadata& meta = checkpoint.metadata;
  auto key = [](const char* name) { return std::string("tokenizer.ggml.") + name; };
  text::VocabSpec spec;
  spec.model = meta.get_string_or(key("model"), "");
  const std::vector<std::string>* tokens = meta.find_strings(key("tokens"));
  if (spec.model.empty() || spec.model == "none" || spec.model == "no_vocab" || !tokens)
    fail(ErrorKind::kBadInput, "[models] {}: the file carries no tokenizer", checkpoint.source_name());
  spec.pre = meta.get_string_or(key("pre"), "");
  spec.tokens = *tokens;
  const std::vector<double> scores = meta.get_numbers(key("scores"));
  spec.scores.assign(scores.begin(), scores.end());
  const std::vector<int64_t> types = meta.get_ints(key("token_type"));
  spec.types.assign(types.begin(), types.end());
  if (const std::vector<std::string>* merges = meta.find_strings(key("merges"))) spec.merges = *merges;

  auto id = [&](const char* name) -> std::optional<text::TokenId> {
    const int64_t value = meta.get_int_or(key(name), -1);
    if (value < 0 || value >= static_cast<int64_t>(spec.tokens.size())) return std::nullopt;  // -1 or 2^32-1: none
    return static_cast<text::TokenId>(value);
  };
  spec.bos = id("bos_token_id");
  spec.eos = id("eos_token_id");
  spec.eot = id("eot_token_id");
  spec.unknown = id("unknown_token_id");
  spec.padding = id("padding_token_id");
  auto flag = [&](const char* name) -> std::optional<bool> {
    if (!meta.find(key(name))) return std::nullopt;
    return meta.get_bool_or(key(name), false);
  };
  spec.add_bos = flag("add_bos_token");
  spec.add_eos = flag("add_eos_token");
  spec.add_space_prefix = flag("add_space_prefix");
  spec.remove_extra_whitespaces = flag("remove_extra_whitespaces");
  spec.separator = id("seperator_token_id");  // the key's own spelling
  spec.classifier = id("cls_token_id");
  spec.lowercase = flag("normalizer.lowercase");
  spec.strip_accents = flag("normalizer.strip_accents");
  for (const int64_t byte : meta.get_ints(key("precompiled_charsmap"))) spec.precompiled_charsmap += static_cast<char>(byte);
  return spec;
}

}  // namespace

std::unique_ptr<text::Tokenizer> load_tokenizer(const tensor::Checkpoint& checkpoint) {
  if (checkpoint.kind == tensor::CheckpointKind::kGguf) return text::tokenizer_from_vocab(read_vocab_spec(checkpoint));
  const std::string* json = find_text(checkpoint, "tokenizer.json");
  const std::string* config_text = find_text(checkpoint, "tokenizer_config.json");
  const std::string_view config = config_text ? *config_text : std::string_view();
  if (json) return text::tokenizer_from_json(*json, config);
  if (const std::string* pieces = find_text(checkpoint, "tokenizer.model")) return text::tokenizer_from_sentencepiece(*pieces, config);
  fail(ErrorKind::kBadInput, "[models] {}: neither tokenizer.json nor tokenizer.model beside the weights", checkpoint.source_name());
}

// A template of its own file wins; tokenizer_config.json may hold one template or a list of named ones.
std::string chat_template_source(const tensor::Checkpoint& checkpoint) {
  if (checkpoint.kind == tensor::CheckpointKind::kGguf)
    return checkpoint.metadata.get_string_or("tokenizer.chat_template", "");
  if (const std::string* text = find_text(checkpoint, "chat_template.jinja")) return *text;
  const std::string* config = find_text(checkpoint, "tokenizer_config.json");
  if (!config) return "";
  const Json json = parse_json(*config, checkpoint.source_name() + "/tokenizer_config.json");
  const Json* found = json.is_object() ? json_find(json, "chat_template") : nullptr;
  if (!found) return "";
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return "";
  for (const Json& entry : *found)
    if (entry.is_object() && json_string_or(entry, "name", "", "tokenizer_config.json") == "default")
      return json_string_or(entry, "template", "", "tokenizer_config.json");
  return "";
}

}  // namespace hone::models
