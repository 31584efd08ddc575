// Opening models: tensors held against the configuration, tokenizer and template sources, hostile metadata.
#include "models/model.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "models/export.h"
#include "models/test_models.h"

namespace hone::models {
namespace {

struct Folder {
  std::filesystem::path path;
  Folder() : path(std::filesystem::temp_directory_path() / fmt::format("hone_models_{}", getpid())) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

std::string open_error(const std::filesystem::path& path) {
  try {
    open_model(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::vector<tensor::OutputTensor> outputs_of(const tensor::Checkpoint& checkpoint) {
  std::vector<tensor::OutputTensor> list;
  for (const auto& [name, view] : checkpoint.tensors())
    list.push_back({name, view.format, view.shape,
                    [bytes = view.bytes](std::span<std::byte> dst) { std::copy(bytes.begin(), bytes.end(), dst.begin()); }});
  return list;
}

TEST(OpenModel, NamesEveryMissingTensorAndWrongShapeAtOnce) {
  Folder folder;
  auto checkpoint = make_hf(small_config());
  auto list = outputs_of(*checkpoint);
  std::erase_if(list, [](const auto& t) { return t.name == "model.norm.weight" || t.name == "model.layers.1.mlp.up_proj.weight"; });
  for (auto& t : list)
    if (t.name == "lm_head.weight") t.shape = {32, 40};
  formats::write_hf_directory(folder.path / "m", checkpoint->texts, list);
  const std::string error = open_error(folder.path / "m");
  EXPECT_NE(error.find("missing tensors: 'model.layers.1.mlp.up_proj.weight', 'model.norm.weight'"), std::string::npos) << error;
  EXPECT_NE(error.find("'lm_head.weight' is [32, 40], must be [40, 32]"), std::string::npos) << error;
}

TEST(OpenModel, RefusesTensorsThatNothingReads) {
  Folder folder;
  auto checkpoint = make_hf(small_config());
  auto list = outputs_of(*checkpoint);
  auto fill = [](std::span<std::byte> dst) { std::fill(dst.begin(), dst.end(), std::byte{0}); };
  list.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", tensor::FormatId::kF32, {4}, fill});
  formats::write_hf_directory(folder.path / "m", checkpoint->texts, list);
  EXPECT_EQ(open_error(folder.path / "m"), "no error");
  list.push_back({"model.layers.1.self_attn.q_proj.bias", tensor::FormatId::kF32, {32}, fill});
  formats::write_hf_directory(folder.path / "n", checkpoint->texts, list);
  EXPECT_NE(open_error(folder.path / "n").find("does not know: 'model.layers.1.self_attn.q_proj.bias'"), std::string::npos)
      << open_error(folder.path / "n");
}

TEST(OpenModel, SaysWhatIsNotThere) {
  Folder folder;
  EXPECT_NE(open_error(folder.path / "none.gguf").find("no such file"), std::string::npos);
  tensor::Metadata meta;
  meta.set("general.architecture", std::string("mamba"));
  formats::write_gguf(folder.path / "m.gguf", meta, {});
  EXPECT_NE(open_error(folder.path / "m.gguf").find("architecture 'mamba' is not supported"), std::string::npos);
  formats::write_gguf(folder.path / "n.gguf", {}, {});
  EXPECT_NE(open_error(folder.path / "n.gguf").find("does not say which architecture"), std::string::npos);
}

TEST(OpenModel, DamagedGgufMetadataIsRefused) {
  Folder folder;
  Model model;
  model.checkpoint = make_hf(small_config());
  model.family = &find_family(*model.checkpoint);
  model.config = model.family->read_config(*model.checkpoint);
  model.tensor_infos = model.family->tensors(model.config, *model.checkpoint);
  const GgufExport good = export_gguf(model);
  auto with = [&](const char* key, tensor::MetaValue value) {
    tensor::Metadata meta = good.metadata;
    meta.set(key, std::move(value));
    formats::write_gguf(folder.path / "x.gguf", meta, good.tensors);
    return open_error(folder.path / "x.gguf");
  };
  EXPECT_EQ(with("llama.rope.freq_base", 10000.0f), "no error");
  EXPECT_NE(with("llama.attention.head_count", uint32_t{0}).find("heads is 0"), std::string::npos);
  EXPECT_NE(with("llama.block_count", uint32_t{4000000000u}).find("layers"), std::string::npos);
  EXPECT_NE(with("llama.block_count", uint32_t{4000}).find("missing tensors"), std::string::npos);
  EXPECT_NE(with("llama.context_length", uint64_t{1} << 62).find("context"), std::string::npos);
  EXPECT_NE(with("llama.embedding_length", std::string("32")).find("embedding_length"), std::string::npos);
  EXPECT_NE(with("llama.rope.dimension_count", uint32_t{2}).find("part of each head"), std::string::npos);
  EXPECT_NE(with("llama.rope.scaling.type", std::string("dynamic")).find("dynamic"), std::string::npos);
  EXPECT_NE(with("llama.expert_count", uint32_t{8}).find("mixtures of experts"), std::string::npos);
  EXPECT_NE(with("llama.vocab_size", uint32_t{39}).find("token_embd.weight"), std::string::npos);
}

TEST(Tokenizer, ComesFromEitherContainer) {
  const Model model = open_model(data_path("stories260K"));
  const auto tokenizer = load_tokenizer(*model.checkpoint);
  EXPECT_EQ(tokenizer->vocab_size(), 512u);
  EXPECT_EQ(tokenizer->bos, 1);
  const Model bare = open_model(data_path("llama"));
  EXPECT_THROW(load_tokenizer(*bare.checkpoint), Error);
}

TEST(ChatTemplate, FollowsTheOrderOfSources) {
  tensor::Checkpoint checkpoint;
  checkpoint.kind = tensor::CheckpointKind::kHuggingFace;
  EXPECT_EQ(chat_template_source(checkpoint), "");
  checkpoint.texts["tokenizer_config.json"] = R"({"chat_template": "a"})";
  EXPECT_EQ(chat_template_source(checkpoint), "a");
  checkpoint.texts["tokenizer_config.json"] =
      R"({"chat_template": [{"name": "tool_use", "template": "b"}, {"name": "default", "template": "c"}]})";
  EXPECT_EQ(chat_template_source(checkpoint), "c");
  checkpoint.texts["chat_template.jinja"] = "d";
  EXPECT_EQ(chat_template_source(checkpoint), "d");
  tensor::Checkpoint gguf;
  gguf.metadata.set("tokenizer.chat_template", std::string("e"));
  EXPECT_EQ(chat_template_source(gguf), "e");
}

}  // namespace
}  // namespace hone::models
