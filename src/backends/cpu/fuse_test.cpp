// Every pattern of fuse.cpp: how often it fits, and that the grouped graph equals the one run node by node.
#include "backends/cpu/fuse.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "backends/cpu/cpu_device.h"
#include "base/random.h"
#include "exec/plan.h"

namespace hone::backends {
namespace {

using tensor::FormatId;

std::vector<float> normal(size_t n, uint64_t seed, float scale = 1) {
  Random random(seed);
  std::vector<float> x(n);
  for (float& v : x) v = scale * static_cast<float>(random.normal());
  return x;
}

// A graph over x [sequence, 64] under construction, its weights in one format.
struct Made {
  static constexpr int64_t kWidth = 64;
  ir::Graph g{"fused"};
  FormatId format;
  ir::ValueId x;
  uint64_t seed = 1;

  explicit Made(FormatId f) : format(f) {
    x = g.add_input("x", tensor::DType::kF32, {ir::Dim::sym(g.symbol("sequence")), ir::Dim::of(kWidth)});
  }
  ir::ValueId vector(const std::string& name, int64_t n) {
    return g.add_constant(name, tensor::DType::kF32, {n},
                          ir::constant_of_floats(normal(static_cast<size_t>(n), ++seed)));
  }
  ir::ValueId product(const std::string& name, ir::ValueId in, int64_t out) {
    const int64_t cols = g.value(in).shape.back().size;
    const auto values =
        normal(static_cast<size_t>(out * cols), ++seed, 1 / std::sqrt(static_cast<float>(cols)));
    auto bytes = std::make_shared<std::vector<std::byte>>(tensor::format_bytes(format, values.size()));
    tensor::format(format).encode(values.data(), bytes->data(), values.size());
    ir::Constant c;
    c.format = format;
    c.transposed = true;
    c.bytes = *bytes;
    c.owner = bytes;
    return g.add("MatMul", name,
                 {in, g.add_constant(name + ".weight", tensor::DType::kF32, {cols, out}, std::move(c))});
  }
  ir::ValueId biased(const std::string& name, ir::ValueId in, int64_t out) {
    const ir::ValueId y = product(name, in, out);
    return g.add("Add", name + ".biased", {vector(name + ".bias", out), y});
  }
  ir::ValueId norm(const std::string& name, ir::ValueId in) {
    return g.add("RMSNormalization", name, {in, vector(name + ".gain", g.value(in).shape.back().size)},
                 {{"epsilon", 1e-6}});
  }
  std::vector<ir::ValueId> split(const std::string& name, ir::ValueId in, const std::vector<int64_t>& sizes) {
    const ir::ValueId list =
        g.add_constant(name + ".sizes", tensor::DType::kI64, {static_cast<int64_t>(sizes.size())},
                       ir::constant_of_ints(sizes));
    std::vector<std::string> names;
    for (size_t i = 0; i < sizes.size(); ++i) names.push_back(name + std::to_string(i));
    return g.add_node("Split", name, {in, list}, {{"axis", int64_t{-1}}}, names);
  }
  void outputs(std::initializer_list<ir::ValueId> list) {
    for (const ir::ValueId id : list) g.add_output(id);
  }
};

std::vector<float> outputs_of(const ir::Graph& graph, bool grouped, int64_t rows, size_t* steps) {
  const auto device = make_cpu_device({.threads = 2, .grouped = grouped});
  exec::PlanLimits limits;
  limits.sequence = 24;
  const auto plan = exec::Plan::compile(graph, *device, limits);
  *steps = plan->steps();
  const std::vector<float> x = normal(static_cast<size_t>(rows) * 64, 77);
  const exec::Input in[] = {{"x", {FormatId::kF32, {rows, 64}, std::as_bytes(std::span(x))}}};
  std::vector<float> all;
  for (int i = 0; i < 2; ++i) {  // what a run leaves behind must not matter
    plan->run(in, nullptr);
    all.clear();
    for (size_t o = 0; o < graph.outputs().size(); ++o) {
      const exec::Buffer y = plan->output(o);
      all.insert(all.end(), y.f32(), y.f32() + y.elements());
    }
  }
  return all;
}

// build makes the graph for a format; counts are those of gate, norm and residual; joined: nodes that vanish
// into others' steps.
void expect_fused(const std::function<ir::Graph(FormatId)>& build, int gates, int norms, int residuals,
                  size_t joined) {
  for (const FormatId format : {FormatId::kF32, FormatId::kQ8_0, FormatId::kQ4_1}) {
    const ir::Graph graph = build(format);
    const std::pair<std::string, int> wanted[] = {{"gate", gates}, {"norm", norms}, {"residual", residuals}};
    const auto counts = count_fusions(graph);
    for (const auto& entry : wanted)
      EXPECT_NE(std::find(counts.begin(), counts.end(), entry), counts.end())
          << entry.first << " " << entry.second;
    for (const int64_t rows : {1, 2, 7, 8, 9, 24}) {
      size_t apart = 0, together = 0;
      const auto expected = outputs_of(graph, false, rows, &apart),
                 got = outputs_of(graph, true, rows, &together);
      EXPECT_EQ(apart - together, joined);
      ASSERT_EQ(got.size(), expected.size());
      // The same kernels in another order of work. Codes of activations that were normalised or gated in
      // another order of floating-point operations may differ by a step of 16 bits.
      const float tolerance = format == FormatId::kF32 ? 3e-6f : 1e-3f;
      for (size_t i = 0; i < got.size(); ++i)
        ASSERT_NEAR(got[i], expected[i], tolerance * std::max(1.0f, std::abs(expected[i])))
            << tensor::format(format).name << ", rows " << rows << ", element " << i;
    }
  }
}

TEST(Fuse, NormAndAllItsProducts) {
  expect_fused(
      [](FormatId f) {
        Made m(f);
        const auto h = m.norm("n", m.x);
        m.outputs({m.product("q", h, 96), m.biased("k", h, 33), m.biased("v", h, 32)});
        return m.g;
      },
      0, 1, 0, 5);
}

TEST(Fuse, NormAndOneProductThatIsSplit) {
  expect_fused(
      [](FormatId f) {
        Made m(f);
        const auto parts = m.split("qkv", m.biased("whole", m.norm("n", m.x), 128), {64, 32, 32});
        m.outputs({parts[0], parts[1], parts[2]});
        return m.g;
      },
      0, 1, 0, 3);
}

TEST(Fuse, GatesOfEveryActivation) {
  for (const char* op : {"Swish", "Gelu"})
    for (const bool biased : {false, true})
      for (const bool swapped : {false, true})
        expect_fused(
            [&](FormatId f) {
              Made m(f);
              const auto h = m.norm("n", m.x);
              const auto gate = biased ? m.biased("gate", h, 96) : m.product("gate", h, 96),
                         up = biased ? m.biased("up", h, 96) : m.product("up", h, 96);
              const auto act = std::string(op) == "Gelu"
                                   ? m.g.add(op, "act", {gate}, {{"approximate", std::string("tanh")}})
                                   : m.g.add(op, "act", {gate});
              m.outputs({swapped ? m.g.add("Mul", "mul", {up, act}) : m.g.add("Mul", "mul", {act, up})});
              return m.g;
            },
            1, 0, 0, biased ? 6 : 4);
}

TEST(Fuse, GateAndUpOutOfOneWeight) {
  expect_fused(
      [](FormatId f) {
        Made m(f);
        const auto parts = m.split("gate_up", m.product("both", m.norm("n", m.x), 192), {96, 96});
        m.outputs({m.g.add("Mul", "mul", {m.g.add("Gelu", "act", {parts[0]}), parts[1]})});
        return m.g;
      },
      1, 0, 0, 4);
}

TEST(Fuse, ProductBiasAndResidual) {
  expect_fused(
      [](FormatId f) {
        Made m(f);
        const auto y = m.g.add("Add", "first", {m.x, m.biased("a", m.x, 64)});
        m.outputs({m.g.add("Add", "second", {m.product("b", y, 64), y})});
        return m.g;
      },
      0, 0, 2, 3);
}

TEST(Fuse, NormsBehindProducts) {
  expect_fused(
      [](FormatId f) {
        Made m(f);
        const auto y = m.g.add("Add", "sum", {m.x, m.norm("post", m.product("a", m.x, 64))});
        m.outputs({m.norm("last", m.biased("b", y, 32))});
        return m.g;
      },
      0, 0, 2, 4);
}

TEST(Fuse, WhatOthersReadStaysInMemory) {
  expect_fused(
      [](FormatId f) {
        Made m(f);
        const auto h = m.norm("n", m.x);  // read by more than products
        const auto gate = m.product("gate", h, 64), up = m.product("up", h, 64);
        const auto act = m.g.add("Swish", "act", {gate});
        m.outputs({m.g.add("Mul", "mul", {act, up}), m.g.add("Add", "kept", {h, m.x}), up});
        return m.g;
      },
      0, 0, 0, 0);
  expect_fused(
      [](FormatId f) {
        Made m(f);
        const auto h = m.norm("n", m.x);
        m.outputs({h, m.product("a", h, 32)});  // the norm is an output itself
        return m.g;
      },
      0, 0, 0, 0);
}

// A product that feeds another reader of the same norm: they cannot run at once.
TEST(Fuse, ChainsOfReadersStayApart) {
  expect_fused(
      [](FormatId f) {
        Made m(f);
        const auto h = m.norm("n", m.x);
        const auto low = m.product("down", h, 32);
        const auto delta = m.product("up", low, 96);
        m.outputs({m.g.add("Add", "adapted", {m.product("q", h, 96), delta}), m.product("k", h, 32)});
        return m.g;
      },
      0, 0, 1, 1);
}

TEST(Fuse, ExactDevicesRunNodeByNode) {
  Made m(FormatId::kF32);
  m.outputs({m.product("a", m.norm("n", m.x), 32)});
  const auto exact = make_cpu_device({.threads = 1, .exact = true});
  EXPECT_EQ(exec::Plan::compile(m.g, *exact, {})->steps(), 2u);
  const auto usual = make_cpu_device(1);
  EXPECT_EQ(exec::Plan::compile(m.g, *usual, {})->steps(), 1u);
}

}  // namespace
}  // namespace hone::backends
