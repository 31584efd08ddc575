// Conversions between the containers: row order, names, metadata; there and back gives the same bytes.
#include "models/export.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

#include "base/error.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "models/round_trip.h"

namespace hone::models {
namespace {

TEST(Export, ThereAndBackKeepsTheBytes) {
  for (const char* name : {"llama", "llama3-rope", "mistral-swa", "stories260K"}) {
    SCOPED_TRACE(name);
    round_trip(open_model(data_path(name)), name);
  }
  Json json = small_config();
  json.update(Json::parse(R"({"attention_bias": true, "mlp_bias": true})"));
  for (const tensor::FormatId format : {tensor::FormatId::kBF16, tensor::FormatId::kF16}) {
    SCOPED_TRACE(tensor::format(format).name);
    round_trip(opened(make_hf(json, format)), "made");
  }
}

TEST(Export, RowsOfQueryAndKeyMoveAsDocumented) {
  // 2 heads of 4 rows: GGUF row 2i + p of a head is HF row 2p + i.
  const std::array<uint8_t, 8> hf = {0, 1, 2, 3, 4, 5, 6, 7};
  std::array<uint8_t, 8> gguf{}, back{};
  permute_rows(std::as_bytes(std::span(hf)), std::as_writable_bytes(std::span(gguf)), 8, 2, true);
  EXPECT_EQ(gguf, (std::array<uint8_t, 8>{0, 2, 1, 3, 4, 6, 5, 7}));
  permute_rows(std::as_bytes(std::span(std::as_const(gguf))), std::as_writable_bytes(std::span(back)), 8, 2, false);
  EXPECT_EQ(back, hf);

  const Model model = opened(make_hf(small_config()));
  for (const TensorInfo& info : model.tensor_infos) {
    const std::vector<float> plain = tensor::decode(model.source(info).view), ordered = gguf_order_f32(model, info);
    EXPECT_EQ(plain == ordered, info.role != Role::kQuery && info.role != Role::kKey) << info.gguf_name;
    if (info.role == Role::kQuery) {  // head size 8: row 1 is HF row 4
      EXPECT_TRUE(std::equal(ordered.begin() + 32, ordered.begin() + 64, plain.begin() + 4 * 32));
    }
  }
}

TEST(Export, DescriptionsSurviveTheWayThroughConfigJson) {
  Folder folder("general");
  GgufExport gguf = export_gguf(open_model(data_path("stories260K")));
  EXPECT_EQ(gguf.metadata.get_string("general.name"), "stories260K");
  gguf.metadata.set("general.name", std::string("Tiny Stories"));
  gguf.metadata.set("general.license", std::string("mit"));
  gguf.metadata.set("general.tags", tensor::make_array(std::vector<std::string>{"story", "tiny"}));
  formats::write_gguf(folder.path / "a.gguf", gguf.metadata, gguf.tensors);
  const HfExport hf = export_hf(open_model(folder.path / "a.gguf"));
  formats::write_hf_directory(folder.path / "hf", hf.texts, hf.tensors);
  const tensor::Metadata back = export_gguf(open_model(folder.path / "hf")).metadata;
  EXPECT_EQ(back.get_string("general.name"), "Tiny Stories");
  EXPECT_EQ(back.get_string("general.license"), "mit");
  ASSERT_NE(back.find_strings("general.tags"), nullptr);
  EXPECT_EQ(back.find_strings("general.tags")->at(1), "tiny");
  EXPECT_EQ(*back.find_strings("tokenizer.ggml.tokens"), *gguf.metadata.find_strings("tokenizer.ggml.tokens"));
}

TEST(Export, BlockFormatsNeedAPlainTypeOnTheWayToSafetensors) {
  Folder folder("blocks");
  const Model model = opened(make_hf(small_config()));
  GgufExport gguf = export_gguf(model);
  for (size_t i = 0; i < gguf.tensors.size(); ++i) {
    if (gguf.infos[i].keep_f32 || gguf.infos[i].shape.back() % 32 != 0) continue;
    auto plain = std::move(gguf.tensors[i].produce);
    const size_t count = tensor::element_count(gguf.tensors[i].shape);
    gguf.tensors[i].format = tensor::FormatId::kQ8_0;
    gguf.tensors[i].produce = [plain, count](std::span<std::byte> dst) {
      std::vector<float> values(count);
      plain(std::as_writable_bytes(std::span<float>(values)));
      tensor::format(tensor::FormatId::kQ8_0).encode(values.data(), dst.data(), count);
    };
  }
  formats::write_gguf(folder.path / "a.gguf", gguf.metadata, gguf.tensors);
  const Model quantized = open_model(folder.path / "a.gguf");
  EXPECT_THROW(export_hf(quantized), Error);
  EXPECT_THROW(export_hf(quantized, tensor::FormatId::kQ4_0), Error);
  const HfExport hf = export_hf(quantized, tensor::FormatId::kF32);
  formats::write_hf_directory(folder.path / "hf", hf.texts, hf.tensors);
  const Model plain = open_model(folder.path / "hf");
  for (const TensorInfo& info : model.tensor_infos) {
    const std::vector<float> a = tensor::decode(model.source(info).view), b = tensor::decode(plain.source(info).view);
    double worst = 0;
    for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(double{a[i]} - double{b[i]}));
    EXPECT_LE(worst, info.keep_f32 ? 0.0 : 0.01) << info.hf_name;  // half a step of Q8_0
  }
}

}  // namespace
}  // namespace hone::models
