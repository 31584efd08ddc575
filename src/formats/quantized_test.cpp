// Checkpoints in the layouts of quantizing tools: values against what numpy (and mlx) computed, refusals by
// name.
#include "formats/quantized.h"

#include <gtest/gtest.h>

#include <bit>

#include "formats/safetensors.h"
#include "formats/test_support.h"
#include "tensor/grouped.h"

namespace hone::formats {
namespace {

using tensor::Checkpoint;

std::vector<std::filesystem::path> cases() {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(test::kData / "quantized"))
    found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

TEST(Quantized, EveryLayoutHasTheValuesThatNumpyComputes) {
  size_t matrices = 0;
  for (const auto& folder : cases()) {
    SCOPED_TRACE(folder.filename().string());
    const Checkpoint got = read_hf_directory(folder);
    Checkpoint expected;
    read_safetensors(folder / "expected.safetensors", expected);
    ASSERT_TRUE(got.layout);
    EXPECT_EQ(got.layout->modules, expected.tensors().size());
    for (const auto& [name, view] : expected.tensors()) {
      SCOPED_TRACE(name);
      const auto* t = got.find(name);
      ASSERT_NE(t, nullptr);
      ASSERT_EQ(t->view.shape, view.shape);
      EXPECT_EQ(tensor::decode(t->view), tensor::decode(view));
      // A few rows alone are the same as in the whole.
      std::vector<float> last(static_cast<size_t>(view.row_length())), whole = tensor::decode(view);
      tensor::decode_rows(t->view, view.rows() - 1, 1, last.data());
      EXPECT_TRUE(std::equal(last.begin(), last.end(), whole.end() - view.row_length()));
      ++matrices;
    }
    for (const auto& t : got.tensors()) {  // parts are gone, the rest is as it was
      EXPECT_FALSE(t.name.ends_with("scales") || t.name.ends_with("qzeros") || t.name.ends_with("_packed") ||
                   t.name.ends_with("absmax"))
          << t.name;
    }
  }
  EXPECT_GE(matrices, 70u);
}

std::string format_of(const std::string& folder, const std::string& module = "layer") {
  const Checkpoint got = read_hf_directory(test::kData / "quantized" / folder);
  const auto* t = got.find(module + ".weight");
  return t ? tensor::format(t->view.format).name : "none";
}

// What can stay in groups does; what cannot is F32.
TEST(Quantized, DeliveredFormats) {
  EXPECT_EQ(format_of("mlx-affine-3"), "INT3_G64_BF16_BIAS");
  EXPECT_EQ(format_of("mlx-affine-4"), "INT4_G128_F32_BIAS");
  EXPECT_EQ(format_of("mlx-mxfp4"), "MXFP4");
  EXPECT_EQ(format_of("mlx-mxfp8"), "E4M3_G32_E8M0");
  EXPECT_EQ(format_of("mlx-nvfp4"), "E2M1_G16_E4M3");
  EXPECT_EQ(format_of("mlx-mixed", "a.guess"), "INT2_G64_F16_BIAS");
  EXPECT_EQ(format_of("gptq-4"), "INT4_G64_F16_SYM");
  EXPECT_EQ(format_of("gptq-3-zeros"), "INT3_G32_F16_ZERO");
  EXPECT_EQ(format_of("gptq-row"), "INT4_G32_F16_SYM");  // 160 columns, one scale a row
  EXPECT_EQ(format_of("gptq-odd"), "F32");
  EXPECT_EQ(format_of("gptq-act-order"), "F32");
  EXPECT_EQ(format_of("awq"), "INT4_G64_F16_ZERO");
  EXPECT_EQ(format_of("awq-symmetric"), "INT4_G32_F16_SYM");
  EXPECT_EQ(format_of("ct-pack-5-words"), "INT5_G32_BF16_SYM");
  EXPECT_EQ(format_of("ct-nvfp4"), "E2M1_G16_F32");
  EXPECT_EQ(format_of("ct-mxfp4"), "MXFP4");
  EXPECT_EQ(format_of("ct-float8-block"), "E4M3_G32_BF16");
  EXPECT_EQ(format_of("fp8-block-ue8m0"), "E4M3_G16_E8M0");
  EXPECT_EQ(format_of("bnb-nf4-double"), "NF4_G64_F32");
  EXPECT_EQ(format_of("bnb-fp4"), "F32");
  EXPECT_EQ(format_of("bnb-nf4-across-96"), "NF4_G32_F32");
  EXPECT_EQ(format_of("bnb-nf4-across-40"), "F32");
  EXPECT_EQ(format_of("bitnet"), "INT2_G64_F32_SYM");
}

TEST(Quantized, LayoutIsRemembered) {
  const auto layout = *read_hf_directory(test::kData / "quantized" / "gptq-act-order-3").layout;
  EXPECT_EQ(layout.method, "gptq");
  EXPECT_EQ(layout.variant, "gptq");
  EXPECT_EQ(layout.bits, 3);
  EXPECT_EQ(layout.group_size, 32);
  EXPECT_FALSE(layout.symmetric);
  EXPECT_TRUE(layout.act_order);
}

// A checkpoint in memory: tensors of zeros with these shapes.
struct Part {
  std::string name;
  tensor::FormatId format;
  tensor::Shape shape;
};
std::string refusal(const std::string& config, const std::vector<Part>& parts, ErrorKind kind,
                    const std::string& extra = {}) {
  Checkpoint c;
  c.kind = tensor::CheckpointKind::kHuggingFace;
  c.path = "made";
  c.texts["config.json"] = config;
  if (!extra.empty()) c.texts["quantize_config.json"] = extra;
  for (const Part& part : parts) {
    auto t = std::make_shared<tensor::Tensor>(part.format, part.shape);
    c.add({part.name, t->view()});
    c.keep_alive(t);
  }
  return test::error_of([&] { assemble_quantized(c); }, kind);
}

TEST(Quantized, RefusalsNameWhatIsWrong) {
  using enum tensor::FormatId;
  const auto unsupported = ErrorKind::kUnsupported, bad = ErrorKind::kBadInput;
  const auto has = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  has(refusal(R"({"quantization_config": {"quant_method": "aqlm"}})", {}, unsupported), "'aqlm'");
  has(refusal(R"({"quantization_config": {"quant_method": "mxfp4"}})", {}, unsupported), "'mxfp4'");
  has(refusal(R"({"quantization_config": {"bits": 4}})", {}, unsupported), "quant_method");
  has(refusal(R"({"quantization": {"bits": 4}, "model_file": "m.py"})", {}, unsupported), "model_file");
  has(refusal(R"({"quantization": {"bits": 7}})", {}, unsupported), "7 bits");
  has(refusal(R"({"quantization": {"mode": "int"}})", {}, unsupported), "'int'");
  const std::string mlx = R"({"quantization": {"group_size": 64, "bits": 4}})";
  has(refusal(mlx, {{"a.scales", kF16, {2, 2}}}, bad), ".weight");
  has(refusal(mlx, {{"a.weight", kU32, {2, 16}}, {"a.scales", kF16, {2, 2}}}, bad), ".biases");
  has(refusal(mlx, {{"a.weight", kU32, {2, 17}}, {"a.scales", kF16, {2, 2}}, {"a.biases", kF16, {2, 2}}},
              bad),
      "no width and group");
  has(refusal(mlx, {{"a.weight", kU32, {2, 16}}, {"a.scales", kF16, {3, 2}}, {"a.biases", kF16, {3, 2}}},
              bad),
      "numbers of rows");
  has(refusal(mlx, {{"a.weight", kF16, {2, 16}}, {"a.scales", kF16, {2, 2}}}, bad), "must be U32");
  const std::string gptq = R"({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32)";
  has(refusal(gptq + R"(, "checkpoint_format": "marlin"}})", {}, unsupported), "marlin");
  has(refusal(gptq + R"(, "is_marlin_format": true}})", {}, unsupported), "marlin");
  const std::vector<Part> parts = {{"a.qweight", kI32, {8, 8}},
                                   {"a.scales", kF16, {2, 8}},
                                   {"a.qzeros", kI32, {2, 1}},
                                   {"a.g_idx", kI32, {64}}};
  const auto without = [&](size_t i, Part other) {
    std::vector<Part> changed = parts;
    changed[i] = std::move(other);
    return refusal(gptq + "}}", changed, bad);
  };
  has(without(1, {"a.scales", kF16, {3, 8}}), "[2, 8]");
  has(without(2, {"a.qzeros", kI32, {2, 2}}), "[2, 1]");
  has(without(2, {"b.qzeros", kI32, {2, 1}}), ".qzeros");
  has(without(3, {"a.g_idx", kI32, {63}}), "[64]");
  has(refusal("{}", {{"a.qweight", kI32, {8, 8}}}, bad, R"({"bits": 4, "group_size": 32, "sym": true})"),
      ".scales");
  has(refusal(R"({"quantization_config": {"quant_method": "awq", "version": "gemv"}})", {}, unsupported),
      "'gemv'");
  const std::string ct =
      R"({"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 4, "group_size": 32}}})";
  has(refusal(ct + R"(, "format": "marlin-24"}})", {}, unsupported), "marlin-24");
  has(refusal(ct + R"(, "sparsity_config": {"format": "sparse-bitmask"}}})", {}, unsupported),
      "sparse-bitmask");
  has(refusal(ct + "}}",
              {{"a.weight_packed", kI32, {4, 9}},
               {"a.weight_shape", kI64, {2}},
               {"a.weight_scale", kF16, {4, 2}}},
              bad),
      "weight_shape");
  has(refusal(ct + "}}", {{"a.weight", kI8, {4, 64}}, {"a.weight_scale", kF16, {4, 3}}}, bad),
      "no entry of config_groups");
  has(refusal(R"({"quantization_config": {"quant_method": "fp8"}})",
              {{"a.weight", kF8E4M3, {4, 64}}, {"a.weight_scale_inv", kF32, {2, 2}}}, bad),
      "weight_block_size");
  has(refusal(
          R"({"quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"}})",
          {}, unsupported),
      "'online'");
  has(refusal(R"({"quantization_config": {"load_in_4bit": true}})",
              {{"a.weight.quant_state.bitsandbytes__nf4", kU8, {2}}}, bad),
      "quant_state");
}

}  // namespace
}  // namespace hone::formats
