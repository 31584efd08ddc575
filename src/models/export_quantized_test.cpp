// Directories in the layouts of other tools: lossless conversions there and back, written and read again.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

#include "base/error.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "models/export.h"
#include "models/test_models.h"
#include "quant/encode.h"

namespace hone::models {
namespace {

using tensor::Container;
using tensor::FormatId;

struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / fmt::format("hone_quantized_{}", getpid());
  Folder() { std::filesystem::remove_all(path), std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path operator/(const std::string& name) const { return path / name; }
};

Json wide_config() {
  Json json = small_config();
  json["hidden_size"] = 128;
  json["intermediate_size"] = 256;
  json["head_dim"] = 32;
  json["tie_word_embeddings"] = true;
  return json;
}

// The model as GGUF with its matrices in these formats, one after the other.
std::filesystem::path gguf_of(const Folder& folder, const std::vector<FormatId>& formats) {
  Model model;
  model.checkpoint = make_hf(wide_config());
  model.family = &find_family(*model.checkpoint);
  model.config = model.family->read_config(*model.checkpoint);
  for (const TensorInfo& info : model.family->tensors(model.config, *model.checkpoint))
    if (model.checkpoint->find(info.hf_name)) model.tensor_infos.push_back(info);
  GgufExport out = export_gguf(model);
  size_t next = 0;
  for (size_t i = 0; i < out.tensors.size(); ++i) {
    tensor::OutputTensor& t = out.tensors[i];
    if (out.infos[i].keep_f32) continue;
    const FormatId id = formats[next++ % formats.size()];
    auto source = std::make_shared<tensor::Tensor>(t.format, t.shape);
    t.produce(source->bytes());
    t = {t.name, id, t.shape, [source, id](std::span<std::byte> dst) {
           quant::encode_tensor(source->view(), id, {}, dst, nullptr);
         }};
  }
  const auto path = folder / "model.gguf";
  formats::write_gguf(path, out.metadata, out.tensors);
  return path;
}

Model written(const HfExport& out, const std::filesystem::path& directory, uint64_t max_shard = 0) {
  formats::HfWriteOptions options = out.options;
  options.max_shard_bytes = max_shard;
  formats::write_hf_directory(directory, out.texts, out.tensors, options);
  return open_model(directory);
}

// Every tensor's numbers in GGUF order.
void expect_same_numbers(const Model& a, const Model& b) {
  ASSERT_EQ(a.tensor_infos.size(), b.tensor_infos.size());
  for (size_t i = 0; i < a.tensor_infos.size(); ++i)
    EXPECT_EQ(gguf_order_f32(a, a.tensor_infos[i]), gguf_order_f32(b, b.tensor_infos[i]))
        << a.tensor_infos[i].gguf_name;
}

void expect_same_bytes(const GgufExport& a, const GgufExport& b) {
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    SCOPED_TRACE(a.tensors[i].name);
    ASSERT_EQ(a.tensors[i].name, b.tensors[i].name);
    ASSERT_STREQ(tensor::format(a.tensors[i].format).name, tensor::format(b.tensors[i].format).name);
    std::vector<std::byte> x(
        tensor::format_bytes(a.tensors[i].format, tensor::element_count(a.tensors[i].shape))),
        y(x.size());
    a.tensors[i].produce(x);
    b.tensors[i].produce(y);
    EXPECT_EQ(x, y);
  }
}

// GGUF -> layout -> GGUF gives the same bytes of tensor data, through files and shards.
TEST(ExportQuantized, GgufThereAndBackGivesTheSameBytes) {
  using enum FormatId;
  const std::map<Container, std::vector<FormatId>> held = {
      {Container::kMlx, {kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ2_0, kMXFP4, kNVFP4}},
      {Container::kCompressedTensors, {kQ4_0, kQ5_0, kQ8_0, kQ2_0, kMXFP4, kNVFP4}},
      {Container::kGptq, {kQ4_0}}};
  for (const auto& [layout, formats] : held) {
    SCOPED_TRACE(tensor::container_name(layout));
    Folder folder;
    const Model source = open_model(gguf_of(folder, formats));
    const HfExport out =
        export_quantized_hf(source, {.layout = layout, .formats = {}, .importances = {}, .pool = nullptr});
    EXPECT_TRUE(out.changed.empty());
    const Model there = written(out, folder / "hf", 40'000);
    EXPECT_GT(there.checkpoint->files.size(), 1u);
    ASSERT_TRUE(there.checkpoint->layout);
    expect_same_numbers(source, there);
    const GgufExport back = export_gguf(there);
    EXPECT_TRUE(back.not_exact.empty());
    if (layout == Container::kMlx) {
      expect_same_bytes(export_gguf(source), back);
      continue;
    }
    GgufExport first = export_gguf(source), second = back;  // the embedding is floats in these layouts
    EXPECT_EQ(second.tensors[0].format, kF32);
    first.tensors.erase(first.tensors.begin());
    second.tensors.erase(second.tensors.begin());
    expect_same_bytes(first, second);
  }
}

// Layout -> layout: numbers stay; and the layout's own tensors come back byte for byte.
TEST(ExportQuantized, DirectoriesAmongEachOther) {
  Folder folder;
  const Model source = open_model(gguf_of(folder, {FormatId::kQ4_0}));
  const HfExport first = export_quantized_hf(
      source, {.layout = Container::kGptq, .formats = {}, .importances = {}, .pool = nullptr});
  const Model gptq = written(first, folder / "gptq");
  const Model mlx =
      written(export_quantized_hf(
                  gptq, {.layout = Container::kMlx, .formats = {}, .importances = {}, .pool = nullptr}),
              folder / "mlx");
  const Model ct = written(
      export_quantized_hf(
          mlx, {.layout = Container::kCompressedTensors, .formats = {}, .importances = {}, .pool = nullptr}),
      folder / "ct");
  const HfExport last = export_quantized_hf(
      ct, {.layout = Container::kGptq, .formats = {}, .importances = {}, .pool = nullptr});
  expect_same_numbers(source, ct);
  ASSERT_EQ(first.tensors.size(), last.tensors.size());
  for (size_t i = 0; i < first.tensors.size(); ++i) {
    SCOPED_TRACE(first.tensors[i].name);
    ASSERT_EQ(first.tensors[i].name, last.tensors[i].name);
    ASSERT_EQ(first.tensors[i].shape, last.tensors[i].shape);
    std::vector<std::byte> x(
        tensor::format_bytes(first.tensors[i].format, tensor::element_count(first.tensors[i].shape))),
        y(x.size());
    first.tensors[i].produce(x);
    last.tensors[i].produce(y);
    EXPECT_EQ(x, y);
  }
}

FormatId grouped(tensor::CodeKind code, int bits, int group, tensor::ScaleType scale, tensor::ZeroKind zero);

// What came from another tool goes back into its own types: scales in BF16, groups of 64, floats of the
// norms.
TEST(ExportQuantized, LayoutThroughGgufGivesTheSameBytes) {
  using namespace tensor;
  const std::vector<std::pair<Container, FormatId>> cases = {
      {Container::kMlx, grouped(CodeKind::kInt, 4, 64, ScaleType::kBF16, ZeroKind::kBias)},
      {Container::kMlx, grouped(CodeKind::kInt, 5, 128, ScaleType::kF16, ZeroKind::kBias)},
      {Container::kMlx, grouped(CodeKind::kE2M1, 4, 32, ScaleType::kE8M0, ZeroKind::kNone)},
      {Container::kGptq, grouped(CodeKind::kInt, 4, 128, ScaleType::kF16, ZeroKind::kMiddle)},
      {Container::kGptq, grouped(CodeKind::kInt, 4, 32, ScaleType::kF16, ZeroKind::kZeroPoint)},
      {Container::kCompressedTensors, grouped(CodeKind::kInt, 3, 64, ScaleType::kBF16, ZeroKind::kMiddle)}};
  for (const auto& [layout, id] : cases) {
    SCOPED_TRACE(std::string(container_name(layout)) + " " + format(id).name);
    Folder folder;
    auto checkpoint = make_hf(wide_config(), FormatId::kBF16);
    Model model;
    model.checkpoint = checkpoint;
    model.family = &find_family(*checkpoint);
    model.config = model.family->read_config(*checkpoint);
    HfTarget target{.layout = layout, .formats = {}, .importances = {}, .pool = nullptr};
    for (const TensorInfo& info : model.family->tensors(model.config, *checkpoint)) {
      if (!checkpoint->find(info.hf_name)) continue;
      model.tensor_infos.push_back(info);
      if (!info.keep_f32 && info.role != Role::kEmbedding) target.formats[info.gguf_name] = id;
    }
    const Model first = written(export_quantized_hf(model, target), folder / "a");
    const GgufExport gguf = export_gguf(first);
    ASSERT_TRUE(gguf.not_exact.empty()) << gguf.not_exact.begin()->second;
    formats::write_gguf(folder / "m.gguf", gguf.metadata, gguf.tensors);
    HfTarget same{.layout = layout, .formats = {}, .importances = {}, .pool = nullptr};
    written(export_quantized_hf(open_model(folder / "m.gguf"), same), folder / "b");
    tensor::Checkpoint a, b;
    formats::read_safetensors(folder / "a" / "model.safetensors", a);
    formats::read_safetensors(folder / "b" / "model.safetensors", b);
    ASSERT_EQ(a.tensors().size(), b.tensors().size());
    for (const auto& t : a.tensors()) {
      SCOPED_TRACE(t.name);
      const auto* other = b.find(t.name);
      ASSERT_NE(other, nullptr);
      ASSERT_EQ(t.view.shape, other->view.shape);
      if (t.view.format != other->view.format)
        continue;  // floats beside F16 scales: same numbers, another type
      // Zero points inside GGUF's codes: a group that does not use both ends has several that say the same.
      if (tensor::grouped_layout(id)->zero != ZeroKind::kZeroPoint) {
        EXPECT_TRUE(std::ranges::equal(t.view.bytes, other->view.bytes));
      }
    }
    expect_same_numbers(first, open_model(folder / "b"));
  }
}

FormatId grouped(tensor::CodeKind code, int bits, int group, tensor::ScaleType scale, tensor::ZeroKind zero) {
  return *tensor::find_grouped({code, static_cast<uint8_t>(bits), static_cast<uint16_t>(group), scale, zero});
}

// Every format that a layout carries is written and read again with the bytes of its groups.
TEST(ExportQuantized, EveryFormatOfEveryLayout) {
  auto checkpoint = make_hf(wide_config());
  Model model;
  model.checkpoint = checkpoint;
  model.family = &find_family(*checkpoint);
  model.config = model.family->read_config(*checkpoint);
  for (const TensorInfo& info : model.family->tensors(model.config, *checkpoint))
    if (checkpoint->find(info.hf_name)) model.tensor_infos.push_back(info);
  size_t tried = 0;
  for (const Container layout : {Container::kMlx, Container::kCompressedTensors, Container::kGptq})
    for (const tensor::QuantFormat& f : tensor::grouped_formats()) {
      if (!tensor::carries(layout, f.id) || !quant::can_encode(f.id)) continue;
      SCOPED_TRACE(std::string(tensor::container_name(layout)) + " " + f.name);
      HfTarget target{.layout = layout, .formats = {}, .importances = {}, .pool = nullptr};
      for (const TensorInfo& info : model.tensor_infos)
        if (info.layer == 0 && (info.role == Role::kDown || info.role == Role::kQuery))
          target.formats[info.gguf_name] = f.id;
      Folder folder;
      const HfExport out = export_quantized_hf(model, target);
      EXPECT_EQ(out.changed.size(), target.formats.size());
      const Model read = written(out, folder / "hf");
      for (const TensorInfo& info : read.tensor_infos) {
        const tensor::TensorView& view = read.source(info).view;
        if (!target.formats.count(info.gguf_name)) {
          EXPECT_FALSE(tensor::format(view.format).quantized()) << info.hf_name;
          continue;
        }
        std::vector<std::byte> wanted(tensor::format_bytes(f.id, tensor::element_count(info.shape)));
        quant::encode_tensor(model.source(info).view, f.id, {}, wanted, nullptr);
        const tensor::TensorView encoded{f.id, info.shape, wanted};
        EXPECT_EQ(tensor::decode(view), tensor::decode(encoded))
            << info.hf_name << " read as " << tensor::format(view.format).name;
      }
      ++tried;
    }
  EXPECT_GT(tried, 100u);
}

TEST(ExportQuantized, RefusalsNameTensorAndReason) {
  Folder folder;
  const Model q5 = open_model(gguf_of(folder, {FormatId::kQ5_1}));
  const auto error = [](auto body) {
    try {
      body();
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  const auto expect = [&](auto body, const std::string& part) {
    const std::string text = error(body);
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  const auto target = [](Container layout, std::map<std::string, FormatId> formats = {}) {
    return HfTarget{.layout = layout, .formats = std::move(formats), .importances = {}, .pool = nullptr};
  };
  expect([&] { export_quantized_hf(q5, target(Container::kGptq)); }, "Q5_1, which GPTQ cannot hold exactly");
  expect([&] { export_quantized_hf(q5, target(Container::kGguf)); }, "no layout");
  expect(
      [&] {
        export_quantized_hf(q5, target(Container::kMlx, {{"blk.0.attn_q.weight", FormatId::kQ4_0}}));
      },
      "cannot be Q4_0");
  const FormatId four =
      grouped(tensor::CodeKind::kInt, 4, 32, tensor::ScaleType::kF16, tensor::ZeroKind::kMiddle);
  const FormatId eight =
      grouped(tensor::CodeKind::kInt, 8, 32, tensor::ScaleType::kF16, tensor::ZeroKind::kMiddle);
  expect(
      [&] {
        export_quantized_hf(q5, target(Container::kGptq, {{"token_embd.weight", four}}));
      },
      "model.embed_tokens.weight");
  std::map<std::string, FormatId> mixed;
  for (const TensorInfo& info : q5.tensor_infos)
    if (!info.keep_f32 && info.role != Role::kEmbedding)
      mixed[info.gguf_name] = info.role == Role::kDown ? eight : four;
  expect([&] { export_quantized_hf(q5, target(Container::kGptq, mixed)); }, "one width and one group");
  // A plain directory from a quantized one needs a plain type, and loses the layout's configuration.
  const Model mlx = written(export_quantized_hf(q5, target(Container::kMlx)), folder / "mlx");
  expect([&] { export_hf(mlx); }, "name a plain type");
  const Model plain = written(export_hf(mlx, FormatId::kF32), folder / "plain");
  EXPECT_FALSE(plain.checkpoint->layout);
  expect_same_numbers(mlx, plain);
}

// A bias that no GGUF type holds: the export says so instead of changing numbers.
TEST(ExportQuantized, GgufNamesWhatItCannotHold) {
  Folder folder;
  const Model source = open_model(gguf_of(folder, {FormatId::kQ8_0}));
  HfTarget target{.layout = Container::kMlx, .formats = {}, .importances = {}, .pool = nullptr};
  target.formats["blk.0.ffn_up.weight"] =
      grouped(tensor::CodeKind::kInt, 8, 64, tensor::ScaleType::kF16, tensor::ZeroKind::kBias);
  const GgufExport out = export_gguf(written(export_quantized_hf(source, target), folder / "mlx"));
  ASSERT_EQ(out.not_exact.size(), 1u);
  EXPECT_EQ(out.not_exact.begin()->first, "blk.0.ffn_up.weight");
  EXPECT_NE(out.not_exact.begin()->second.find("bias"), std::string::npos) << out.not_exact.begin()->second;
  EXPECT_THROW(formats::write_gguf(folder / "a.gguf", out.metadata, out.tensors), Error);
}

}  // namespace
}  // namespace hone::models
