// Vocabularies and tokenizer files as the writers of both containers need them.
#include "models/export_tokenizer.h"

#include "base/error.h"
#include "base/json.h"
#include "models/config_source.h"
#include "models/model.h"

namespace hone::models {

void write_gguf_vocab(const text::Tokenizer& tokenizer, size_t rows, const std::string& source_name,
                      tensor::Metadata& meta) {
  text::VocabSpec spec = tokenizer.to_vocab_spec();
  if (rows == 0) rows = spec.tokens.size();
  if (spec.tokens.size() > rows)
    fail(ErrorKind::kUnsupported, "[models] {}: the tokenizer has {} tokens, the model {} rows", source_name,
         spec.tokens.size(), rows);
  // llama.cpp wants a token for every row of the embedding.
  if (!spec.scores.empty()) spec.scores.resize(rows, -1000.0f);
  spec.types.resize(spec.tokens.size(), 1);
  spec.types.resize(rows, 5);
  for (size_t i = spec.tokens.size(); i < rows; ++i) spec.tokens.push_back(fmt::format("[PAD{}]", i));

  auto set = [&](const char* key, tensor::MetaValue value) {
    meta.set(std::string("tokenizer.ggml.") + key, std::move(value));
  };
  set("model", spec.model);
  if (!spec.pre.empty()) set("pre", spec.pre);
  set("tokens", tensor::make_array(std::move(spec.tokens)));
  if (!spec.scores.empty()) set("scores", tensor::make_array(std::move(spec.scores)));
  set("token_type", tensor::make_array(std::move(spec.types)));
  if (!spec.merges.empty()) set("merges", tensor::make_array(std::move(spec.merges)));
  auto set_id = [&](const char* key, std::optional<text::TokenId> id) {
    if (id) set(key, static_cast<uint32_t>(*id));
  };
  set_id("bos_token_id", spec.bos);
  set_id("eos_token_id", spec.eos);
  set_id("eot_token_id", spec.eot);
  set_id("unknown_token_id", spec.unknown);
  set_id("padding_token_id", spec.padding);
  if (spec.add_bos) set("add_bos_token", *spec.add_bos);
  if (spec.add_eos) set("add_eos_token", *spec.add_eos);
  if (spec.add_space_prefix) set("add_space_prefix", *spec.add_space_prefix);
  if (spec.remove_extra_whitespaces) set("remove_extra_whitespaces", *spec.remove_extra_whitespaces);
  if (!spec.precompiled_charsmap.empty())
    set("precompiled_charsmap", tensor::make_array(std::vector<uint8_t>(spec.precompiled_charsmap.begin(),
                                                                        spec.precompiled_charsmap.end())));
  set_id("seperator_token_id", spec.separator);  // the key's own spelling
  set_id("cls_token_id", spec.classifier);
}

namespace {

std::string tokenizer_config(const tensor::Checkpoint& checkpoint, const text::Tokenizer& tokenizer,
                             int64_t context_length) {
  const tensor::Metadata& meta = checkpoint.metadata;
  Json json;
  json["tokenizer_class"] = "PreTrainedTokenizerFast";
  auto set_piece = [&](const char* key, std::optional<text::TokenId> id) {
    if (id) json[key] = tokenizer.piece(*id);
  };
  set_piece("bos_token", tokenizer.bos);
  set_piece("eos_token", tokenizer.eos);
  for (const auto& [key, name] : {std::pair{"unk_token", "tokenizer.ggml.unknown_token_id"},
                                  {"pad_token", "tokenizer.ggml.padding_token_id"}})
    if (const int64_t id = meta.get_int_or(name, -1);
        id >= 0 && id < static_cast<int64_t>(tokenizer.vocab_size()))
      set_piece(key, static_cast<text::TokenId>(id));
  if (meta.find("tokenizer.ggml.add_bos_token"))
    json["add_bos_token"] = meta.get_bool_or("tokenizer.ggml.add_bos_token", false);
  if (meta.find("tokenizer.ggml.add_eos_token"))
    json["add_eos_token"] = meta.get_bool_or("tokenizer.ggml.add_eos_token", false);
  if (context_length > 0) json["model_max_length"] = context_length;
  json["clean_up_tokenization_spaces"] = false;
  if (std::string source = chat_template_source(checkpoint); !source.empty())
    json["chat_template"] = std::move(source);
  return dump_json(json, 2);
}

// What a tokenizer consists of in a Hugging Face directory.
constexpr const char* kTokenizerFiles[] = {"tokenizer.json",        "tokenizer.model",
                                           "tokenizer_config.json", "special_tokens_map.json",
                                           "added_tokens.json",     "chat_template.jinja"};

}  // namespace

std::map<std::string, std::string> hf_tokenizer_texts(const tensor::Checkpoint& checkpoint,
                                                      const text::Tokenizer& tokenizer,
                                                      int64_t context_length) {
  std::map<std::string, std::string> texts;
  Json generation;
  if (tokenizer.bos) generation["bos_token_id"] = *tokenizer.bos;
  if (tokenizer.end_of_turn.size() > 1)
    generation["eos_token_id"] = tokenizer.end_of_turn;
  else if (tokenizer.eos)
    generation["eos_token_id"] = *tokenizer.eos;
  if (!generation.is_null()) texts["generation_config.json"] = dump_json(generation, 2) + "\n";
  texts["tokenizer.json"] = tokenizer.to_tokenizer_json();
  texts["tokenizer_config.json"] = tokenizer_config(checkpoint, tokenizer, context_length) + "\n";
  return texts;
}

tensor::Metadata export_tokenizer_gguf(const tensor::Checkpoint& checkpoint) {
  tensor::Metadata meta;
  const std::unique_ptr<text::Tokenizer> tokenizer = load_tokenizer(checkpoint);
  if (checkpoint.kind == tensor::CheckpointKind::kGguf) {
    for (const auto& [key, value] : checkpoint.metadata.entries())
      if (key.starts_with("tokenizer.") || key == "general.architecture" || key == "general.name")
        meta.set(key, value);
    return meta;
  }
  std::string architecture = "llama";
  if (checkpoint.texts.count("config.json"))
    for (const Family* family : family_list())
      if (family->matches(checkpoint)) architecture = family->read_config(checkpoint).architecture;
  meta.set("general.architecture", architecture);
  write_gguf_vocab(*tokenizer, 0, checkpoint.source_name(), meta);
  if (std::string source = chat_template_source(checkpoint); !source.empty())
    meta.set("tokenizer.chat_template", std::move(source));
  return meta;
}

std::map<std::string, std::string> export_tokenizer_hf(const tensor::Checkpoint& checkpoint) {
  std::map<std::string, std::string> texts;
  if (checkpoint.kind == tensor::CheckpointKind::kGguf) {
    texts = hf_tokenizer_texts(checkpoint, *load_tokenizer(checkpoint), 0);
    texts.erase("generation_config.json");
    return texts;
  }
  for (const char* name : kTokenizerFiles)
    if (const auto found = checkpoint.texts.find(name); found != checkpoint.texts.end()) texts.insert(*found);
  return texts;
}

}  // namespace hone::models
