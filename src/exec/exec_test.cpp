// Plans on a device of the test's own: layout of the arena, binding of sizes and inputs, lazy constants,
// rebind, observer, refusals.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "exec/arena_layout.h"
#include "exec/plan.h"
#include "ir/op_table.h"

namespace hone::exec {
namespace {

using tensor::DType;
using tensor::FormatId;

TEST(ArenaLayout, BuffersAliveTogetherNeverOverlap) {
  Random random(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<Lifetime> lives;
    size_t sum = 0;
    for (int i = 0; i < 60; ++i) {
      const int first = static_cast<int>(random.below(40));
      lives.push_back({random.below(5000), first, first + static_cast<int>(random.below(8))});
      sum += (lives.back().bytes + 63) / 64 * 64;
    }
    const ArenaLayout layout = lay_out(lives);
    EXPECT_LE(layout.bytes, sum);
    for (size_t a = 0; a < lives.size(); ++a) {
      EXPECT_EQ(layout.offsets[a] % 64, 0u);
      EXPECT_LE(layout.offsets[a] + lives[a].bytes, layout.bytes);
      for (size_t b = 0; b < a; ++b) {
        if (lives[a].last < lives[b].first || lives[b].last < lives[a].first || !lives[a].bytes ||
            !lives[b].bytes)
          continue;
        EXPECT_TRUE(layout.offsets[a] + lives[a].bytes <= layout.offsets[b] ||
                    layout.offsets[b] + lives[b].bytes <= layout.offsets[a]);
      }
    }
  }
}

TEST(ArenaLayout, AChainNeedsTwoBuffers) {
  std::vector<Lifetime> lives;
  for (int i = 0; i < 100; ++i) lives.push_back({1024, i, i + 1});
  EXPECT_EQ(lay_out(lives).bytes, 2048u);
}

// Adds, multiplies and rectifies F32 (constants may be F16 on the right); views for Identity and Reshape.
class SmallDevice : public Device {
 public:
  class Element : public Kernel {
   public:
    explicit Element(char op) : op_(op) {}
    size_t scratch_bytes(std::span<const Buffer> in, std::span<const Buffer>, int) const override {
      return static_cast<size_t>(in[0].elements()) * sizeof(float);
    }
    void run(const KernelContext& c) override {
      const size_t n = static_cast<size_t>(c.outputs[0].elements());
      ASSERT_GE(c.scratch.size(), n * sizeof(float));
      float* right = reinterpret_cast<float*>(c.scratch.data());
      if (c.inputs.size() > 1)
        tensor::format(c.inputs[1].format)
            .decode(c.inputs[1].data, right, static_cast<size_t>(c.inputs[1].elements()));
      for (size_t i = 0; i < n; ++i) {
        const float a = c.inputs[0].f32()[i],
                    b = c.inputs.size() > 1 ? right[i % static_cast<size_t>(c.inputs[1].elements())] : 0;
        c.outputs[0].f32()[i] = op_ == '+' ? a + b : op_ == '*' ? a * b : std::max(a, 0.0f);
      }
    }

   private:
    char op_;
  };
  class View : public Kernel {
   public:
    bool is_view() const override { return true; }
    void run(const KernelContext&) override { FAIL() << "a view is never run"; }
  };

  std::string name() const override { return "small"; }
  ThreadPool& pool() override { return pool_; }
  bool supports(const ir::Graph& graph, const ir::Node& node) const override {
    static const std::set<std::string> known{"Add", "Mul", "Relu", "Identity", "Reshape"};
    if (!known.count(node.op->name)) return false;
    if (node.inputs.size() < 2 || std::string(node.op->name) == "Reshape") return true;
    const ir::Constant* c = graph.constant_of(node.inputs[1]);
    return !c || c->format == FormatId::kF32 || c->format == FormatId::kF16;
  }
  std::unique_ptr<Kernel> compile(const ir::Graph&, const ir::Node& node) override {
    ++compiled;
    const std::string op = node.op->name;
    if (op == "Identity" || op == "Reshape") return std::make_unique<View>();
    return std::make_unique<Element>(op == "Add" ? '+' : op == "Mul" ? '*' : '>');
  }
  bool supports_state(FormatId format) const override { return format == FormatId::kF16; }
  int compiled = 0;

 private:
  ThreadPool pool_{1};
};

Input input(std::string_view name, const std::vector<float>& values, tensor::Shape shape) {
  return {name, {FormatId::kF32, std::move(shape), std::as_bytes(std::span(values))}};
}
ir::Dim symbol(ir::Graph& g, const char* name) {
  return ir::Dim::sym(g.symbol(name));
}
ErrorKind kind_of(const std::function<void()>& f, std::string* message = nullptr) {
  try {
    f();
  } catch (const Error& e) {
    if (message) *message = e.what();
    return e.kind();
  }
  ADD_FAILURE() << "no error";
  return ErrorKind::kCancelled;
}

// y = relu(x + w) * x over [batch, sequence, 3].
ir::Graph small_graph(ir::ValueId* w = nullptr) {
  ir::Graph g("small");
  const auto x = g.add_input("x", DType::kF32, {symbol(g, "batch"), symbol(g, "sequence"), ir::Dim::of(3)});
  const auto c = g.add_constant("w", DType::kF32, {3}, ir::constant_of_floats(std::vector<float>{1, -2, 3}));
  if (w) *w = c;
  g.add_output(g.add("Mul", "y", {g.add("Relu", "r", {g.add("Add", "s", {x, c})}), x}));
  return g;
}

TEST(Plan, BindsSizesPerRun) {
  SmallDevice device;
  PlanLimits limits;
  limits.batch = 2, limits.sequence = 4;
  const auto plan = Plan::compile(small_graph(), device, limits);
  for (const auto& [batch, sequence] : {std::pair<int64_t, int64_t>{1, 1}, {2, 4}, {1, 3}, {2, 1}, {1, 0}}) {
    std::vector<float> x(static_cast<size_t>(batch * sequence * 3));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) - 4;
    const Input in[] = {input("x", x, {batch, sequence, 3})};
    plan->run(in, nullptr);
    const Buffer y = plan->output("y");
    ASSERT_EQ(y.rank, 3);
    EXPECT_EQ(y.dims[0], batch);
    EXPECT_EQ(y.dims[1], sequence);
    EXPECT_EQ(y.bytes, x.size() * 4);
    const float w[] = {1, -2, 3};
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y.f32()[i], std::max(x[i] + w[i % 3], 0.0f) * x[i]);
  }
}

TEST(Plan, RefusesInputsThatDoNotFit) {
  SmallDevice device;
  PlanLimits limits;
  limits.sequence = 4;
  const auto plan = Plan::compile(small_graph(), device, limits);
  const std::vector<float> x(15, 1.0f);
  const auto run = [&](std::vector<Input> in) { return [&, in] { plan->run(in, nullptr); }; };
  EXPECT_EQ(kind_of(run({input("x", x, {1, 5, 3})})), ErrorKind::kUsage);     // over the limit
  EXPECT_EQ(kind_of(run({input("z", x, {1, 5, 3})})), ErrorKind::kUsage);     // no such input
  EXPECT_EQ(kind_of(run({})), ErrorKind::kUsage);                             // missing
  EXPECT_EQ(kind_of(run({input("x", x, {1, 3, 5})})), ErrorKind::kBadInput);  // a fixed size
  EXPECT_EQ(kind_of(run({input("x", x, {5, 3})})), ErrorKind::kBadInput);     // rank
  EXPECT_EQ(kind_of(run({input("x", x, {1, 4, 3})})), ErrorKind::kBadInput);  // bytes
  EXPECT_EQ(kind_of(run({{"x", {FormatId::kF16, {1, 1, 3}, std::as_bytes(std::span(x)).first(6)}}})),
            ErrorKind::kBadInput);
  EXPECT_EQ(kind_of([&] { plan->output("nothing"); }), ErrorKind::kUsage);
  EXPECT_EQ(kind_of([&] { plan->output(1); }), ErrorKind::kUsage);
}

TEST(Plan, InputsThatShareASymbolAgree) {
  ir::Graph g;
  const ir::Dim n = symbol(g, "sequence");
  const auto a = g.add_input("a", DType::kF32, {n}), b = g.add_input("b", DType::kF32, {n});
  g.add_output(g.add("Add", "y", {a, b}));
  SmallDevice device;
  const auto plan = Plan::compile(std::move(g), device, {});
  const std::vector<float> two(2, 1.0f), three(3, 2.0f);
  const Input good[] = {input("b", two, {2}), input("a", two, {2})},
              bad[] = {input("a", two, {2}), input("b", three, {3})};
  plan->run(good, nullptr);
  EXPECT_EQ(plan->output(0).f32()[1], 2.0f);
  EXPECT_EQ(kind_of([&] { plan->run(bad, nullptr); }), ErrorKind::kBadInput);
}

TEST(Plan, NamesEverythingTheDeviceLacksAtOnce) {
  ir::Graph g;
  const auto x = g.add_input("x", DType::kF32, {ir::Dim::of(4)});
  g.add_output(g.add("Tanh", "t2", {g.add("Sigmoid", "s", {g.add("Tanh", "t1", {x})})}));
  SmallDevice device;
  std::string message;
  EXPECT_EQ(kind_of([&] { Plan::compile(g, device, {}); }, &message), ErrorKind::kUnsupported);
  EXPECT_NE(message.find("Tanh (2 nodes, first 't1')"), std::string::npos) << message;
  EXPECT_NE(message.find("Sigmoid (1 nodes, first 's')"), std::string::npos) << message;
}

TEST(Plan, UnknownSymbolsNeedALimit) {
  ir::Graph g;
  const auto x = g.add_input("x", DType::kF32, {symbol(g, "pixels")});
  g.add_output(g.add("Relu", "y", {x}));
  SmallDevice device;
  EXPECT_EQ(kind_of([&] { Plan::compile(g, device, {}); }), ErrorKind::kUsage);
  PlanLimits limits;
  limits.others = {{"pixels", 8}};
  const std::vector<float> v{-1, 2};
  const Input in[] = {input("x", v, {2})};
  const auto plan = Plan::compile(g, device, limits);
  plan->run(in, nullptr);
  EXPECT_EQ(plan->output(0).f32()[1], 2.0f);
}

TEST(Plan, ViewsKeepTheirSourceAlive) {
  ir::Graph g;
  const auto x = g.add_input("x", DType::kF32, {ir::Dim::of(2), ir::Dim::of(8)});
  const auto first = g.add("Relu", "first", {x});
  const auto shape =
      g.add_constant("shape", DType::kI64, {1}, ir::constant_of_ints(std::vector<int64_t>{-1}));
  const auto flat = g.add("Reshape", "flat", {first, shape});
  auto noise = g.add("Add", "noise", {x, x});  // would take first's place, were it free
  for (int i = 0; i < 5; ++i) noise = g.add("Mul", "noise" + std::to_string(i), {noise, x});
  g.add_output(g.add("Relu", "y", {flat}));
  g.add_output(noise);
  g.add_output(g.add("Identity", "same", {x}));  // a view of an input
  SmallDevice device;
  const auto plan = Plan::compile(std::move(g), device, {});
  std::vector<float> v(16);
  for (size_t i = 0; i < 16; ++i) v[i] = static_cast<float>(i) - 7;
  const Input in[] = {input("x", v, {2, 8})};
  plan->run(in, nullptr);
  EXPECT_EQ(plan->output(0).rank, 1);
  for (size_t i = 0; i < 16; ++i) {
    EXPECT_EQ(plan->output(0).f32()[i], std::max(v[i], 0.0f));
    EXPECT_EQ(plan->output("same").f32()[i], v[i]);
  }
}

TEST(Plan, LazyConstantsAreProducedOnceAtCompileTime) {
  ir::Graph g;
  const auto x = g.add_input("x", DType::kF32, {ir::Dim::of(2)});
  int produced = 0;
  ir::Constant lazy;
  lazy.produce = [&](std::span<std::byte> dst) {
    ++produced;
    ASSERT_EQ(dst.size(), 8u);
    const float values[] = {10, 20};
    std::memcpy(dst.data(), values, 8);
  };
  const auto w = g.add_constant("w", DType::kF32, {2}, std::move(lazy));
  g.add_output(g.add("Mul", "z", {g.add("Add", "y", {x, w}), w}));
  SmallDevice device;
  const auto plan = Plan::compile(std::move(g), device, {});
  EXPECT_EQ(produced, 1);
  EXPECT_EQ(plan->weight_bytes(), 8u);  // read twice, one tensor
  const std::vector<float> v{1, 2};
  const Input in[] = {input("x", v, {2})};
  for (int i = 0; i < 2; ++i) plan->run(in, nullptr);
  EXPECT_EQ(produced, 1);
  EXPECT_EQ(plan->output(0).f32()[0], 110.0f);
  EXPECT_EQ(plan->output(0).f32()[1], 440.0f);
}

TEST(Plan, RebindChangesBytesAndFormat) {
  SmallDevice device;
  ir::ValueId w = ir::kNoValue;
  const auto plan = Plan::compile(small_graph(&w), device, {});
  const int before = device.compiled;
  const std::vector<float> x{1, 1, 1}, other{5, 5, -5};
  const Input in[] = {input("x", x, {1, 1, 3})};
  plan->rebind(w, FormatId::kF32, std::as_bytes(std::span(other)));
  EXPECT_EQ(device.compiled, before + 1);  // the one kernel that reads it is chosen anew
  plan->run(in, nullptr);
  EXPECT_EQ(plan->output(0).f32()[0], 6.0f);
  EXPECT_EQ(plan->output(0).f32()[2], 0.0f);
  const uint16_t halves[] = {0x4000, 0x4200, 0x4400};  // 2, 3, 4
  plan->rebind(w, FormatId::kF16, std::as_bytes(std::span(halves)));
  plan->run(in, nullptr);
  EXPECT_EQ(plan->output(0).f32()[2], 5.0f);
  EXPECT_EQ(kind_of([&] { plan->rebind(w, FormatId::kBF16, std::as_bytes(std::span(halves))); }),
            ErrorKind::kUnsupported);
  EXPECT_EQ(kind_of([&] { plan->rebind(w, FormatId::kF32, std::as_bytes(std::span(halves))); }),
            ErrorKind::kUsage);
  EXPECT_EQ(kind_of([&] { plan->rebind(0, FormatId::kF32, {}); }), ErrorKind::kUsage);  // an input
  plan->run(in, nullptr);
  EXPECT_EQ(plan->output(0).f32()[2], 5.0f);  // refusals change nothing
}

TEST(Plan, ObserverSeesEveryNode) {
  SmallDevice device;
  const auto plan = Plan::compile(small_graph(), device, {});
  std::vector<std::string> names;
  float sum = 0;
  plan->set_observer(
      [&](const ir::Node& node, std::span<const Buffer> in, std::span<const Buffer> out, double seconds) {
        names.push_back(node.name);
        if (node.name == "s") sum = out[0].f32()[2] - in[0].f32()[2];
        EXPECT_GE(seconds, 0);
      });
  const std::vector<float> x{1, 1, 1};
  const Input in[] = {input("x", x, {1, 1, 3})};
  plan->run(in, nullptr);
  EXPECT_EQ(names, (std::vector<std::string>{"s", "r", "y"}));
  EXPECT_EQ(sum, 3.0f);
  plan->set_observer(nullptr);
  plan->run(in, nullptr);
  EXPECT_EQ(names.size(), 3u);
}

TEST(Plan, GraphsWithStateNeedTheirStateSet) {
  ir::Graph g;
  const ir::Dim batch = symbol(g, "batch"), past = symbol(g, "past"), sequence = symbol(g, "sequence");
  const auto q = g.add_input("q", DType::kF32, {batch, sequence, ir::Dim::of(32)});
  const auto k = g.add_input("past_key", DType::kF32, {batch, ir::Dim::of(1), past, ir::Dim::of(32)});
  const auto v = g.add_input("past_value", DType::kF32, {batch, ir::Dim::of(1), past, ir::Dim::of(32)});
  const auto out = g.add_node("Attention", "a", {q, q, q, ir::kNoValue, k, v},
                              {{"q_num_heads", int64_t{1}}, {"kv_num_heads", int64_t{1}}});
  g.add_state("key", k, out[1], 2);
  g.add_state("value", v, out[2], 2);
  g.add_output(out[0]);
  class Attending : public SmallDevice {
   public:
    bool supports(const ir::Graph&, const ir::Node&) const override { return true; }
    std::unique_ptr<Kernel> compile(const ir::Graph&, const ir::Node&) override {
      return std::make_unique<Count>();
    }
    class Count : public Kernel {  // writes how much past there is
      void run(const KernelContext& c) override {
        ASSERT_NE(c.states[4], nullptr);
        EXPECT_EQ(c.states[0], nullptr);
        EXPECT_EQ(c.states[4]->capacity, 10);
        EXPECT_EQ(c.inputs[4].dims[2], c.past[0]);
        c.outputs[0].f32()[0] = static_cast<float>(c.past[0]);
      }
    };
  } device;
  PlanLimits limits;
  limits.context = 10;
  const auto plan = Plan::compile(g, device, limits);
  StateSet states = plan->make_states();
  EXPECT_EQ(states.bytes(), 2u * 10 * 32 * 2);
  const std::vector<float> x(3 * 32, 1.0f);
  const Input in[] = {input("q", x, {1, 3, 32})};
  EXPECT_EQ(kind_of([&] { plan->run(in, nullptr); }), ErrorKind::kUsage);
  for (int i = 0; i < 3; ++i) {
    plan->run(in, &states);
    EXPECT_EQ(plan->output(0).f32()[0], 3.0f * static_cast<float>(i));
  }
  EXPECT_EQ(states.lengths()[0], 9);
  EXPECT_EQ(kind_of([&] { plan->run(in, &states); }), ErrorKind::kUsage);  // 12 of 10
  states.truncate(0, 4);
  plan->run(in, &states);
  EXPECT_EQ(states.lengths()[0], 7);
  limits.state_format = FormatId::kF32;
  EXPECT_EQ(kind_of([&] { Plan::compile(g, device, limits); }), ErrorKind::kUsage);
}

}  // namespace
}  // namespace hone::exec
