// Fitting, merging and writing of adapters on a made model; whole models are held against peft in
// tests/adapter_test.cpp.
#include "models/adapter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "models/export.h"
#include "models/test_models.h"

namespace hone::models {
namespace {

using tensor::FormatId;

constexpr const char* kQuery = "model.layers.1.self_attn.q_proj.weight";  // [32, 32]

Model made(bool tied, FormatId format = FormatId::kF32) {
  Json config = small_config();
  config["tie_word_embeddings"] = tied;
  Model model;
  model.checkpoint = make_hf(config, format);
  model.family = &find_family(*model.checkpoint);
  model.config = model.family->read_config(*model.checkpoint);
  model.tensor_infos = model.family->tensors(model.config, *model.checkpoint);
  return model;
}

// Adapter files whose matrices hold small numbers that differ by position.
struct Builder {
  formats::AdapterFile file;
  int seed = 3;
  Builder() { file.source = "made adapter"; }
  tensor::TensorView matrix(tensor::Shape shape) {
    auto t = std::make_shared<tensor::Tensor>(FormatId::kF32, shape);
    for (uint64_t i = 0; i < tensor::element_count(shape); ++i)
      t->f32()[i] = static_cast<float>((static_cast<int>(i) * 5 + seed) % 17 - 8) / 32.0f;
    ++seed;
    file.owners.push_back(t);
    return t->view();
  }
  Builder& update(const char* base, int64_t out, int64_t in, int64_t rank, double scale = 1) {
    file.updates.push_back({base, {matrix({rank, in}), matrix({out, rank}), scale, {}}, false});
    return *this;
  }
};

std::vector<double> expected_sum(const std::vector<float>& w, const tensor::LowRankUpdate& u, double scale) {
  const auto a = tensor::decode(u.a), b = tensor::decode(u.b);
  const auto rank = static_cast<size_t>(u.rank()), columns = static_cast<size_t>(u.a.shape[1]);
  std::vector<double> sum(w.begin(), w.end());
  for (size_t i = 0; i < sum.size(); ++i)
    for (size_t k = 0; k < rank; ++k)
      sum[i] += scale * u.scale * double{b[i / columns * rank + k]} * double{a[k * columns + i % columns]};
  return sum;
}

std::vector<float> weight(const Model& model, const char* name) {
  return tensor::decode(model.checkpoint->find(name)->view);
}

template <typename F>
std::string error_of(F body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(AdapterFit, NamesEverythingThatDoesNotFit) {
  const Model model = made(false);
  Builder b;
  b.update("model.layers.9.mlp.up_proj.weight", 48, 32, 2)
      .update(kQuery, 32, 30, 2)
      .update("lm_head.weight", 40, 32, 1);
  const std::string message = error_of([&] { fit_adapter(b.file, model); });
  for (const char* part :
       {"no: 'model.layers.9.mlp.up_proj.weight'", "q_proj.weight' is [32, 32], its A [2, 30] and B [32, 2]"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
  EXPECT_EQ(message.find("lm_head"), std::string::npos) << message;
}

TEST(AdapterFit, NamesWithoutTheFirstModel) {
  const Adapter adapter =
      fit_adapter(Builder().update("layers.1.self_attn.q_proj.weight", 32, 32, 2).file, made(false));
  EXPECT_TRUE(adapter.updates.contains("blk.1.attn_q.weight"));
}

TEST(AdapterMerge, AddsInF32AndReadsRowsInPieces) {
  Model model = made(false);
  const std::vector<float> before = weight(model, kQuery);
  const Adapter adapter = fit_adapter(Builder().update(kQuery, 32, 32, 3, 0.5).file, model);
  const auto expected = expected_sum(before, adapter.updates.at("blk.1.attn_q.weight"), 2);
  EXPECT_EQ(merge_adapter(model, adapter, 2).changed, (std::vector<std::string>{"blk.1.attn_q.weight"}));
  const std::vector<float> after = weight(model, kQuery);
  for (size_t i = 0; i < after.size(); ++i) ASSERT_NEAR(after[i], expected[i], 1e-6);
  std::vector<float> rows(5 * 32);
  tensor::decode_rows(model.checkpoint->find(kQuery)->view, 7, 5, rows.data());
  EXPECT_TRUE(std::equal(rows.begin(), rows.end(), after.begin() + 7 * 32));
}

TEST(AdapterMerge, RoundsABf16BaseOnce) {
  Model model = made(false, FormatId::kBF16);
  const std::vector<float> before = weight(model, kQuery);
  const Adapter first = fit_adapter(Builder().update(kQuery, 32, 32, 3).file, model);
  Builder other;
  other.seed = 11;
  const Adapter second = fit_adapter(other.update(kQuery, 32, 32, 1).file, model);
  auto sum = expected_sum(before, first.updates.at("blk.1.attn_q.weight"), 1);
  sum = expected_sum({sum.begin(), sum.end()}, second.updates.at("blk.1.attn_q.weight"), 0.25);
  const ScaledAdapter both[] = {{&first, 1}, {&second, 0.25}};
  merge_adapters(model, both);
  EXPECT_EQ(model.checkpoint->find(kQuery)->view.format, FormatId::kBF16);
  const std::vector<float> after = weight(model, kQuery), plain(sum.begin(), sum.end());
  std::vector<std::byte> bytes(plain.size() * 2);
  tensor::format(FormatId::kBF16).encode(plain.data(), bytes.data(), plain.size());
  EXPECT_EQ(after, tensor::decode({FormatId::kBF16, {32, 32}, bytes}));
}

TEST(AdapterMerge, DoraGivesRowsTheirLengths) {
  Model model = made(false);
  const std::vector<float> before = weight(model, kQuery);
  Builder b;
  b.update(kQuery, 32, 32, 2);
  for (int i = 0; i < 32; ++i) b.file.updates[0].update.magnitude.push_back(1.0f + static_cast<float>(i) / 8);
  const Adapter adapter = fit_adapter(b.file, model);
  const auto direction = expected_sum(before, adapter.updates.at("blk.1.attn_q.weight"), 1);
  merge_adapter(model, adapter);
  const std::vector<float> after = weight(model, kQuery);
  for (size_t r = 0; r < 32; ++r) {
    double length = 0;
    for (size_t c = 0; c < 32; ++c) length += direction[r * 32 + c] * direction[r * 32 + c];
    for (size_t c = 0; c < 32; ++c)
      ASSERT_NEAR(after[r * 32 + c],
                  direction[r * 32 + c] / std::sqrt(length) * (1.0 + static_cast<double>(r) / 8), 1e-5);
  }
  EXPECT_NE(
      error_of([&] { export_adapter_gguf(model, adapter); }).find("magnitudes of 'blk.1.attn_q.weight'"),
      std::string::npos);
  EXPECT_EQ(export_adapter_peft(model, adapter).tensors.size(), 3u);
}

TEST(AdapterMerge, AHeadThatDiffersFromItsEmbeddingIsUntied) {
  Model model = made(true);
  const std::vector<float> embedding = weight(model, "model.embed_tokens.weight");
  const Adapter adapter = fit_adapter(Builder().update("lm_head.weight", 40, 32, 2).file, model);
  Model merged = model;
  merge_adapter(merged, adapter);
  EXPECT_FALSE(merged.config.tied_head);
  EXPECT_TRUE(model.config.tied_head);
  EXPECT_EQ(model.checkpoint->find("lm_head.weight"), nullptr);
  EXPECT_EQ(weight(merged, "model.embed_tokens.weight"), embedding);
  const auto expected = expected_sum(embedding, adapter.updates.at("output.weight"), 1);
  const std::vector<float> head = weight(merged, "lm_head.weight");
  for (size_t i = 0; i < head.size(); ++i) ASSERT_NEAR(head[i], expected[i], 1e-6);
  EXPECT_EQ(hone::parse_json(merged.checkpoint->texts.at("config.json"), "c")["tie_word_embeddings"], false);
  const GgufExport out = export_gguf(merged);
  EXPECT_EQ(std::count_if(out.tensors.begin(), out.tensors.end(),
                          [](const auto& t) { return t.name == "output.weight"; }),
            1);

  // An adapter of the embedding alone leaves the head as it was, and so does a saved embedding unless tying
  // is asked for.
  const Adapter lower = fit_adapter(Builder().update("model.embed_tokens.weight", 40, 32, 2).file, model);
  merged = model;
  merge_adapter(merged, lower);
  EXPECT_EQ(weight(merged, "lm_head.weight"), embedding);
  EXPECT_NE(weight(merged, "model.embed_tokens.weight"), embedding);
  for (const bool splits : {false, true}) {
    Builder saved;
    saved.file.replaced.push_back({"model.embed_tokens.weight", saved.matrix({40, 32})});
    saved.file.splits_tied_embedding = splits;
    merged = model;
    replace_tensors(merged, fit_adapter(saved.file, model));
    EXPECT_EQ(merged.config.tied_head, !splits);
    EXPECT_NE(weight(merged, "model.embed_tokens.weight"), embedding);
  }
}

TEST(AdapterExport, DifferentScalesGoIntoB) {
  const Model model = made(false);
  Builder b;
  b.update(kQuery, 32, 32, 2, 3).update("model.layers.0.mlp.up_proj.weight", 48, 32, 4, 0.5);
  const Adapter adapter = fit_adapter(b.file, model);
  const AdapterGguf out = export_adapter_gguf(model, adapter);
  EXPECT_EQ(out.metadata.get_number_or("adapter.lora.alpha", -1), 0);
  for (const auto& t : out.tensors) {
    if (t.name != "blk.0.ffn_up.weight.lora_b") continue;
    std::vector<float> values(48 * 4), original = tensor::decode(adapter.updates.at("blk.0.ffn_up.weight").b);
    t.produce(std::as_writable_bytes(std::span(values)));
    for (float& v : original) v *= 0.5f;
    EXPECT_EQ(values, original);
  }
  const Json config = parse_json(export_adapter_peft(model, adapter).config, "config");
  EXPECT_EQ(config["rank_pattern"].size(), 1u);
  EXPECT_EQ(config["alpha_pattern"].size(), 1u);
}

}  // namespace
}  // namespace hone::models
