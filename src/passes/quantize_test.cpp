// The quantize pass: what it matches, what it produces, what it refuses.
#include "passes/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/random.h"
#include "quant/encode.h"

namespace hone::passes {
namespace {

using tensor::FormatId;

struct QuantizePass : testing::Test {
  std::vector<float> weights = std::vector<float>(64 * 48), table = std::vector<float>(40 * 64);
  ir::Graph graph;

  QuantizePass() {
    Random random(3);
    for (float& w : weights) w = static_cast<float>(random.normal());
    for (float& w : table) w = static_cast<float>(random.normal());
    const ir::ValueId ids = graph.add_input("ids", ir::DType::kI64, {ir::Dim::of(5)});
    ir::Constant embedding{FormatId::kF32, false, std::as_bytes(std::span<const float>(table)), nullptr, {}, "embed"};
    ir::Constant linear{FormatId::kF32, true, std::as_bytes(std::span<const float>(weights)), nullptr, {}, "w"};
    ir::Constant tied{FormatId::kF32, true, std::as_bytes(std::span<const float>(table)), nullptr, {}, "embed"};
    const float ones[64] = {1};
    ir::Constant norm = ir::constant_of_floats(ones);
    norm.source = "norm";
    const ir::ValueId e = graph.add_constant("e", ir::DType::kF32, {40, 64}, embedding);
    const ir::ValueId w = graph.add_constant("w", ir::DType::kF32, {64, 48}, linear);  // 48 rows of 64
    const ir::ValueId h = graph.add_constant("h", ir::DType::kF32, {64, 40}, tied);
    const ir::ValueId n = graph.add_constant("n", ir::DType::kF32, {64}, norm);
    const ir::ValueId x = graph.add("RMSNormalization", "x", {graph.add("Gather", "g", {e, ids}), n});
    graph.add_output(graph.add("MatMul", "y", {x, w}));
    graph.add_output(graph.add("MatMul", "logits", {x, h}));
  }
  std::string error_of(QuantizeOptions options) {
    try {
      quantize(graph, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  std::vector<std::byte> produced(const ir::Graph& g, const char* name, size_t elements) {
    const ir::Constant& constant = *g.constant_of(g.find_value(name));
    std::vector<std::byte> bytes(tensor::format_bytes(constant.format, elements));
    constant.produce(bytes);
    return bytes;
  }
};

TEST_F(QuantizePass, MatchesBySourceAndEncodesWhenAsked) {
  QuantizeOptions options;
  options.formats = {{"w", FormatId::kQ4_0}, {"embed", FormatId::kQ8_0}, {"absent", FormatId::kQ4_0}};
  options.importances["w"] = std::vector<float>(64, 2.0f);
  const QuantizeResult result = quantize(graph, options);
  EXPECT_EQ(result.matched, 3);  // w, and the embedding twice
  ir::verify(result.graph);
  const ir::Constant& w = *result.graph.constant_of(result.graph.find_value("w"));
  EXPECT_TRUE(w.lazy() && w.transposed && w.bytes.empty());

  const auto bytes = produced(result.graph, "w", weights.size());
  std::vector<std::byte> direct(bytes.size());
  quant::encode_rows(FormatId::kQ4_0, weights.data(), 48, 64, options.importances["w"], direct.data(), nullptr);
  EXPECT_EQ(bytes, direct);
  EXPECT_EQ(result.graph.constant_of(result.graph.find_value("e"))->owner,
            result.graph.constant_of(result.graph.find_value("h"))->owner);
  EXPECT_EQ(produced(result.graph, "e", table.size()), produced(result.graph, "h", table.size()));
  std::vector<float> decoded(table.size());
  tensor::format(FormatId::kQ8_0).decode(produced(result.graph, "e", table.size()).data(), decoded.data(), decoded.size());
  for (size_t i = 0; i < table.size(); ++i) ASSERT_NEAR(decoded[i], table[i], 0.02) << i;
}

TEST_F(QuantizePass, StacksOnLazyConstantsAndSkipsWhatHasTheFormat) {
  QuantizeOptions first, second;
  first.formats = {{"w", FormatId::kQ8_0}};
  second.formats = {{"w", FormatId::kQ4_0}, {"embed", FormatId::kF32}};
  const QuantizeResult once = quantize(graph, first);
  const QuantizeResult twice = quantize(once.graph, second);
  EXPECT_EQ(twice.matched, 1);
  EXPECT_EQ(quantize(twice.graph, second).matched, 0);
  const auto q8 = produced(once.graph, "w", weights.size());
  std::vector<float> decoded(weights.size());
  tensor::format(FormatId::kQ8_0).decode(q8.data(), decoded.data(), decoded.size());
  std::vector<std::byte> direct(tensor::format_bytes(FormatId::kQ4_0, weights.size()));
  quant::encode_rows(FormatId::kQ4_0, decoded.data(), 48, 64, {}, direct.data(), nullptr);
  EXPECT_EQ(produced(twice.graph, "w", weights.size()), direct);
}

TEST_F(QuantizePass, RefusesWhatCannotBe) {
  EXPECT_NE(error_of({{{"w", FormatId::kQ4_K}}, {}, nullptr}).find("do not fill blocks of 256"), std::string::npos);
  EXPECT_NE(error_of({{{"w", FormatId::kI64}}, {}, nullptr}).find("no format that can be written"), std::string::npos);
  EXPECT_NE(error_of({{{"norm", FormatId::kQ8_0}}, {}, nullptr}).find("only matrices"), std::string::npos);
  EXPECT_NE(error_of({{{"w", FormatId::kQ8_0}}, {{"w", {1.0f}}}, nullptr}).find("1 importances for rows of 64"), std::string::npos);
  EXPECT_EQ(error_of({{{"w", FormatId::kQ8_0}}, {}, nullptr}), "no error");
}

}  // namespace
}  // namespace hone::passes
