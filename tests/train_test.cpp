// Gradients on the CPU backend, held against differences of the forward pass: each op on its own, then whole
// models, where a random change of every weight must change the output as the gradient says.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>

#include "backends/cpu/cpu_device.h"
#include "base/error.h"
#include "base/random.h"
#include "exec/plan.h"
#include "models/model.h"
#include "train/differentiate.h"

namespace hone {
namespace {

using ir::ValueId;
using tensor::FormatId;

std::vector<float> normal(size_t n, Random& random, double scale = 1) {
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(scale * random.normal());
  return x;
}

exec::Device& device() {
  static const auto d = backends::make_cpu_device({2, true});
  return *d;
}

template <typename T>
exec::Input input(std::string_view name, FormatId format, const std::vector<int64_t>& shape,
                  const std::vector<T>& data) {
  exec::Input in;
  in.name = name;
  in.view.format = format;
  in.view.shape = shape;
  in.view.bytes = std::as_bytes(std::span(data));
  return in;
}

std::vector<float> floats_of(const exec::Buffer& b) {
  return {b.f32(), b.f32() + b.elements()};
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// A graph of float inputs x0, x1 ... and one output.
struct OpCase {
  std::string name;
  std::vector<std::vector<int64_t>> shapes;
  std::function<ValueId(ir::Graph&, const std::vector<ValueId>&)> build;
  double scale = 1, offset = 0;  // of the random inputs
  std::vector<size_t> wrt = {};  // empty: all
};

ValueId indices(ir::Graph& g, std::vector<int64_t> shape, const std::vector<int64_t>& values,
                const char* name) {
  return g.add_constant(name, ir::DType::kI64, std::move(shape), ir::constant_of_ints(values));
}
ValueId table(ir::Graph& g, const char* name, int64_t rows, int64_t width, uint64_t seed) {
  Random random(seed);
  return g.add_constant(name, ir::DType::kF32, {rows, width},
                        ir::constant_of_floats(normal(static_cast<size_t>(rows * width), random)));
}

std::vector<OpCase> op_cases() {
  using Ids = std::vector<ValueId>;
  const auto unary = [](const char* op, std::vector<std::pair<std::string, ir::Attribute>> attributes = {}) {
    return [op, attributes](ir::Graph& g, const Ids& x) { return g.add(op, "y", {x[0]}, attributes); };
  };
  const auto binary = [](const char* op) {
    return [op](ir::Graph& g, const Ids& x) { return g.add(op, "y", x); };
  };
  const auto attention = [](std::vector<std::pair<std::string, ir::Attribute>> more) {
    return [more](ir::Graph& g, const Ids& x) {
      std::vector<std::pair<std::string, ir::Attribute>> attributes{{"q_num_heads", int64_t{4}},
                                                                    {"kv_num_heads", int64_t{2}}};
      attributes.insert(attributes.end(), more.begin(), more.end());
      return g.add("Attention", "y", x, attributes);
    };
  };
  const std::vector<std::vector<int64_t>> qkv{{2, 9, 32}, {2, 9, 16}, {2, 9, 16}};
  return {
      {"MatMul2D", {{5, 7}, {7, 19}}, binary("MatMul")},
      {"MatMulRows", {{2, 5, 33}, {33, 65}}, binary("MatMul")},
      {"MatMulBatched", {{2, 3, 5, 7}, {3, 7, 4}}, binary("MatMul")},
      {"Add", {{3, 1, 5}, {4, 5}}, binary("Add")},
      {"Sub", {{3, 5}, {5}}, binary("Sub")},
      {"Mul", {{3, 5}, {3, 1}}, binary("Mul")},
      {"Div", {{3, 5}, {5}}, binary("Div"), 0.2, 1.5},
      {"Swish", {{3, 300}}, unary("Swish")},
      {"SwishAlpha", {{7}}, unary("Swish", {{"alpha", 1.7}})},
      {"Gelu", {{3, 300}}, unary("Gelu")},
      {"GeluTanh", {{3, 300}}, unary("Gelu", {{"approximate", std::string("tanh")}})},
      {"Tanh", {{3, 5}}, unary("Tanh")},
      {"Sigmoid", {{3, 5}}, unary("Sigmoid")},
      {"Exp", {{3, 5}}, unary("Exp")},
      {"Sqrt", {{3, 5}}, unary("Sqrt"), 0.2, 2},
      {"Softmax", {{4, 37}}, unary("Softmax")},
      {"Transpose", {{2, 3, 4}}, unary("Transpose", {{"perm", std::vector<int64_t>{2, 0, 1}}})},
      {"RMSNormalization", {{40, 48}, {48}}, binary("RMSNormalization")},
      {"Gather",
       {{6, 5}},
       [](ir::Graph& g, const Ids& x) {
         return g.add("Gather", "y", {x[0], indices(g, {2, 3}, {0, 5, 5, 2, 0, 0}, "at")},
                      {{"axis", int64_t{0}}});
       }},
      {"Reshape",
       {{2, 6, 5}},
       [](ir::Graph& g, const Ids& x) {
         return g.add("Reshape", "y", {x[0], indices(g, {3}, {0, 3, -1}, "shape")});
       }},
      {"Split",
       {{3, 12}},
       [](ir::Graph& g, const Ids& x) {
         const auto parts = g.add_node("Split", "parts", {x[0], indices(g, {2}, {6, 6}, "sizes")},
                                       {{"axis", int64_t{-1}}}, {"a", "b"});
         return g.add("Mul", "y", {parts[0], parts[1]});
       }},
      {"RotaryEmbedding",
       {{2, 3, 32}},
       [](ir::Graph& g, const Ids& x) {
         return g.add("RotaryEmbedding", "y",
                      {x[0], table(g, "cos", 8, 6, 1), table(g, "sin", 8, 6, 2),
                       indices(g, {2, 3}, {0, 1, 2, 5, 6, 7}, "at")},
                      {{"num_heads", int64_t{2}}, {"rotary_embedding_dim", int64_t{12}}});
       }},
      {"Attention", qkv, attention({})},
      {"AttentionCausal", qkv, attention({{"is_causal", int64_t{1}}, {"scale", 0.3}})},
      {"AttentionWindowSoftcap", qkv,
       attention({{"is_causal", int64_t{1}}, {"sliding_window", int64_t{4}}, {"softcap", 1.5}})},
      // x + f(x) with x used three times: gradients add up.
      {"Residual",
       {{4, 16}, {16, 16}},
       [](ir::Graph& g, const Ids& x) {
         const ValueId h = g.add("Swish", "h", {g.add("MatMul", "p", {x[0], x[1]})});
         return g.add("Mul", "y", {g.add("Add", "s", {x[0], h}), x[0]});
       }},
  };
}

class OpGradient : public testing::TestWithParam<OpCase> {};

TEST_P(OpGradient, EqualsTheDifferenceQuotient) {
  const OpCase& c = GetParam();
  Random random(7);
  ir::Graph g("op");
  std::vector<ValueId> xs;
  std::vector<std::vector<float>> data;
  for (size_t i = 0; i < c.shapes.size(); ++i) {
    ir::Shape shape;
    size_t n = 1;
    for (const int64_t d : c.shapes[i]) shape.push_back(ir::Dim::of(d)), n *= static_cast<size_t>(d);
    xs.push_back(g.add_input(fmt::format("x{}", i), ir::DType::kF32, shape));
    data.push_back(normal(n, random, c.scale));
    for (float& v : data.back()) v += static_cast<float>(c.offset);
  }
  const ValueId y = c.build(g, xs);
  g.add_output(y);
  const train::Gradient gradient = train::differentiate(g, y, xs);
  ir::verify(gradient.graph);
  EXPECT_EQ(ir::print_graph(ir::parse_graph(ir::print_graph(gradient.graph))),
            ir::print_graph(gradient.graph));

  const auto plan = exec::Plan::compile(gradient.graph, device(), {});
  std::vector<int64_t> out_shape;
  for (const ir::Dim& d : g.value(y).shape) out_shape.push_back(d.size);
  const auto inputs_of = [&](const std::vector<std::vector<float>>& values, const std::vector<float>& seed) {
    std::vector<exec::Input> inputs;
    for (size_t i = 0; i < values.size(); ++i)
      inputs.push_back(input(g.value(xs[i]).name, FormatId::kF32, c.shapes[i], values[i]));
    inputs.push_back(input("gradient.y", FormatId::kF32, out_shape, seed));
    return inputs;
  };
  size_t n = 1;
  for (const int64_t d : out_shape) n *= static_cast<size_t>(d);
  const std::vector<float> seed = normal(n, random);
  plan->run(inputs_of(data, seed), nullptr);
  std::vector<std::vector<float>> gradients;
  for (size_t i = 0; i < xs.size(); ++i) gradients.push_back(floats_of(plan->output(1 + i)));
  for (size_t i = 0; i < xs.size(); ++i)
    for (int trial = 0; trial < 3; ++trial) {
      const std::vector<float> direction = normal(data[i].size(), random);
      const double step = 4e-3 / std::sqrt(static_cast<double>(c.scale > 0 ? 1 : 1));
      double ends[2];
      for (const int side : {0, 1}) {
        auto moved = data;
        for (size_t j = 0; j < moved[i].size(); ++j)
          moved[i][j] += static_cast<float>((side ? step : -step) * direction[j]);
        plan->run(inputs_of(moved, seed), nullptr);
        ends[side] = dot(seed, floats_of(plan->output(size_t{0})));
      }
      const double wanted = (ends[1] - ends[0]) / (2 * step), got = dot(gradients[i], direction);
      const double size = std::sqrt(dot(gradients[i], gradients[i]));
      EXPECT_NEAR(got, wanted, 4e-3 * size + 1e-4) << "input " << i;
      EXPECT_GT(size, 0);
    }
}

INSTANTIATE_TEST_SUITE_P(Ops, OpGradient, testing::ValuesIn(op_cases()),
                         [](const auto& i) { return i.param.name; });

TEST(Differentiate, NamesEveryOpWithoutDerivativeAtOnce) {
  ir::Graph g("relu");
  const ValueId x = g.add_input("x", ir::DType::kF32, {ir::Dim::of(4)});
  const ValueId y = g.add("Relu", "y", {g.add("Pow", "p", {x, x})});
  g.add_output(y);
  try {
    train::differentiate(g, y, std::vector<ValueId>{x});
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("Pow, Relu"), std::string::npos) << e.what();
  }
}

// The logical [in, out] elements of a 2-D weight gradient lie transposed to the stored rows.
std::vector<float> as_stored(const std::vector<float>& gradient, const ir::Graph& g, ValueId v) {
  const ir::Constant* constant = g.constant_of(v);
  const ir::Shape& shape = g.value(v).shape;
  if (!constant->transposed) return gradient;
  const auto in = static_cast<size_t>(shape[0].size), out = static_cast<size_t>(shape[1].size);
  std::vector<float> stored(gradient.size());
  for (size_t i = 0; i < in; ++i)
    for (size_t o = 0; o < out; ++o) stored[o * in + i] = gradient[i * out + o];
  return stored;
}

class ModelGradient : public testing::TestWithParam<const char*> {};

TEST_P(ModelGradient, EveryWeightPullsAsTheDifferenceSays) {
  const std::filesystem::path path = std::filesystem::path(HONE_SOURCE_DIR) / "../shared/golden" / GetParam();
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no golden " << GetParam() << " beside the checkout";
  const models::Model model = models::open_model(path);
  models::Family::GraphOptions options;
  options.with_cache = false;
  const ir::Graph g = model.graph(options);
  Random random(3);
  constexpr int64_t kTokens = 24;
  std::vector<int64_t> ids, positions;
  for (int64_t i = 0; i < kTokens; ++i)
    ids.push_back(static_cast<int64_t>(random.next() % static_cast<uint64_t>(model.config.vocab_size))),
        positions.push_back(i);
  const std::vector<float> seed =
      normal(static_cast<size_t>(kTokens * model.config.vocab_size), random, 0.05);

  const ValueId logits = g.outputs()[0];
  std::vector<ValueId> wrt, residuals;
  for (size_t v = 0; v < g.values().size(); ++v) {
    const ir::Value& value = g.values()[v];
    const bool is_weight = value.constant >= 0 && value.name.ends_with(".weight");
    if (is_weight && (value.name.starts_with("blk.") || value.name.starts_with("output")))
      wrt.push_back(static_cast<ValueId>(v));
    if (value.name.ends_with("ffn_residual")) residuals.push_back(static_cast<ValueId>(v));
  }
  ASSERT_GT(wrt.size(), 10u);
  ASSERT_FALSE(residuals.empty());
  exec::PlanLimits limits;
  limits.sequence = kTokens;
  const std::string seed_name = "gradient." + g.value(logits).name;
  const std::vector<exec::Input> inputs{
      input("input_ids", FormatId::kI64, {1, kTokens}, ids),
      input("position_ids", FormatId::kI64, {1, kTokens}, positions),
      input(seed_name, FormatId::kF32, {1, kTokens, model.config.vocab_size}, seed)};

  const train::Gradient whole = train::differentiate(g, logits, wrt);
  const train::Gradient kept = train::differentiate(g, logits, wrt, {ir::kNoValue, residuals});
  ir::verify(kept.graph);
  EXPECT_GT(kept.graph.nodes().size(), whole.graph.nodes().size());
  const auto plan = exec::Plan::compile(whole.graph, device(), limits);
  const auto again = exec::Plan::compile(kept.graph, device(), limits);
  plan->run(inputs, nullptr);
  again->run(inputs, nullptr);

  const auto forward = exec::Plan::compile(g, device(), limits);
  const std::vector<exec::Input> plain{inputs[0], inputs[1]};
  for (size_t i = 0; i < wrt.size(); ++i) {
    const std::string& name = g.value(wrt[i]).name;
    const std::vector<float> gradient = floats_of(plan->output(1 + i));
    EXPECT_EQ(gradient, floats_of(again->output(1 + i))) << name << " with checkpoints";
    const std::vector<float> stored = as_stored(gradient, g, wrt[i]);
    const ir::Constant& constant = *g.constant_of(wrt[i]);
    if (constant.lazy() || constant.format != FormatId::kF32) continue;
    std::vector<float> values(stored.size());
    std::memcpy(values.data(), constant.bytes.data(), constant.bytes.size());
    const double size = std::sqrt(dot(values, values) / static_cast<double>(values.size()));
    const std::vector<float> direction = normal(values.size(), random, size);
    constexpr double kStep = 2e-3;
    double ends[2];
    for (const int side : {0, 1}) {
      std::vector<float> moved = values;
      for (size_t j = 0; j < moved.size(); ++j)
        moved[j] += static_cast<float>((side ? kStep : -kStep) * direction[j]);
      forward->rebind(wrt[i], FormatId::kF32, std::as_bytes(std::span(moved)));
      forward->run(plain, nullptr);
      ends[side] = dot(seed, floats_of(forward->output(size_t{0})));
    }
    forward->rebind(wrt[i], FormatId::kF32, constant.bytes);
    const double wanted = (ends[1] - ends[0]) / (2 * kStep), got = dot(stored, direction);
    const double reach = std::sqrt(dot(stored, stored)) * size;
    EXPECT_NEAR(got, wanted, 0.02 * reach + 2e-3) << name;
    EXPECT_GT(reach, 0) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, ModelGradient,
                         testing::Values("llama", "qwen2", "qwen3", "gemma2", "gemma3-text", "phi3",
                                         "mistral-swa"));

}  // namespace
}  // namespace hone
