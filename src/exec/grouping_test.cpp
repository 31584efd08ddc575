// Grouped steps on a device of the test's own: order and edges, memory, rebind, observer, starting between
// steps.
#include "exec/grouping.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/error.h"
#include "exec/plan.h"
#include "ir/op_table.h"

namespace hone::exec {
namespace {

using tensor::DType;
using tensor::FormatId;
using Nodes = std::vector<ir::NodeId>;

float apply(std::string_view op, float a, float b) {
  return op == "Add" ? a + b : op == "Mul" ? a * b : std::max(a, 0.0f);
}

// Runs its nodes one element after the other: values inside never have memory of their own.
class ElementKernel : public Kernel {
 public:
  ElementKernel(const ir::Graph& graph, std::span<const ir::NodeId> nodes)
      : graph_(graph), nodes_(nodes.begin(), nodes.end()), edges_(Grouping(graph).edges(nodes)) {}
  void run(const KernelContext& c) override {
    const auto count = static_cast<size_t>(c.outputs[0].elements());
    std::vector<float> now(graph_.values().size());
    for (size_t i = 0; i < count; ++i) {
      for (size_t k = 0; k < edges_.inputs.size(); ++k) {
        const Buffer& in = c.inputs[k];
        const size_t at = i % static_cast<size_t>(in.elements());
        tensor::format(in.format).decode(in.data + at * (in.format == FormatId::kF16 ? 2 : 4),
                                         &now[static_cast<size_t>(edges_.inputs[k])], 1);
      }
      for (const ir::NodeId n : nodes_) {
        const ir::Node& node = graph_.nodes()[static_cast<size_t>(n)];
        const float a = now[static_cast<size_t>(node.inputs[0])],
                    b = node.inputs.size() > 1 ? now[static_cast<size_t>(node.inputs[1])] : 0;
        now[static_cast<size_t>(node.outputs[0])] = apply(node.op->name, a, b);
      }
      for (size_t k = 0; k < edges_.outputs.size(); ++k)
        c.outputs[k].f32()[i] = now[static_cast<size_t>(edges_.outputs[k])];
    }
  }

 private:
  const ir::Graph& graph_;
  Nodes nodes_;
  GroupEdges edges_;
};

class GroupingDevice : public Device {
 public:
  explicit GroupingDevice(std::vector<Nodes> groups = {}) : groups_(std::move(groups)) {}
  std::string name() const override { return "grouping"; }
  ThreadPool& pool() override { return pool_; }
  bool supports(const ir::Graph& graph, const ir::Node& node) const override {
    for (const ir::ValueId in : node.inputs)
      if (const ir::Constant* c = graph.constant_of(in); c && c->format == FormatId::kBF16) return false;
    return true;
  }
  std::unique_ptr<Kernel> compile(const ir::Graph& graph, const ir::Node& node) override {
    const auto id = static_cast<ir::NodeId>(&node - graph.nodes().data());
    return std::make_unique<ElementKernel>(graph, std::span(&id, 1));
  }
  void group(Grouping& grouping) const override {
    for (const Nodes& nodes : groups_) EXPECT_TRUE(grouping.join(nodes));
  }
  std::unique_ptr<Kernel> compile_group(const Grouping& grouping,
                                        std::span<const ir::NodeId> nodes) override {
    ++compiled_groups;
    return std::make_unique<ElementKernel>(grouping.graph(), nodes);
  }
  bool supports_state(FormatId) const override { return true; }
  int compiled_groups = 0;

 private:
  std::vector<Nodes> groups_;
  ThreadPool pool_{1};
};

// 0 a = x + w; 1 b = relu a; 2 c = b * x; 3 d = b + x; 4 e = c * w; 5 f = d + e. Outputs: b and f.
struct Made {
  ir::Graph graph{"six"};
  ir::ValueId x, w, a, b, c, d, e, f;
  Made() {
    const ir::Dim n = ir::Dim::sym(graph.symbol("sequence"));
    x = graph.add_input("x", DType::kF32, {n, ir::Dim::of(3)});
    w = graph.add_constant("w", DType::kF32, {3}, ir::constant_of_floats(std::vector<float>{1, -2, 3}));
    a = graph.add("Add", "a", {x, w});
    b = graph.add("Relu", "b", {a});
    c = graph.add("Mul", "c", {b, x});
    d = graph.add("Add", "d", {b, x});
    e = graph.add("Mul", "e", {c, w});
    f = graph.add("Add", "f", {d, e});
    graph.add_output(b);
    graph.add_output(f);
  }
};

const std::vector<float> kX{1, 2, -3, 4, -5, 6};
std::vector<std::vector<float>> run(Plan& plan, const RunOptions& options = {}) {
  const Input in[] = {{"x", {FormatId::kF32, {2, 3}, std::as_bytes(std::span(kX))}}};
  plan.run(in, nullptr, options);
  std::vector<std::vector<float>> got;
  for (const char* name : {"b", "f"}) got.emplace_back(plan.output(name).f32(), plan.output(name).f32() + 6);
  return got;
}
std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Grouping, EdgesAreInTheDocumentedOrder) {
  const Made m;
  const Grouping grouping(m.graph);
  const GroupEdges all = grouping.edges(Nodes{0, 1, 2, 3, 4, 5});
  EXPECT_EQ(all.inputs, (std::vector{m.x, m.w}));
  EXPECT_EQ(all.outputs, (std::vector{m.b, m.f}));
  const GroupEdges late = grouping.edges(Nodes{2, 4});
  EXPECT_EQ(late.inputs, (std::vector{m.b, m.x, m.w}));
  EXPECT_EQ(late.outputs, (std::vector{m.e}));
  EXPECT_EQ(grouping.edges(Nodes{0, 2}).outputs, (std::vector{m.a, m.c}));
}

TEST(Grouping, JoinsOnlyWhatKeepsTheOrder) {
  const Made m;
  Grouping grouping(m.graph);
  EXPECT_FALSE(grouping.join(Nodes{0, 2}));  // b, between them, reads a
  EXPECT_FALSE(grouping.join(Nodes{1, 0}));  // not ascending
  EXPECT_FALSE(grouping.join(Nodes{4, 6}));  // no such node
  EXPECT_FALSE(grouping.join(Nodes{}));
  EXPECT_TRUE(grouping.join(Nodes{2, 4}));   // d lies between and needs neither
  EXPECT_FALSE(grouping.join(Nodes{4, 5}));  // taken
  EXPECT_FALSE(grouping.join(Nodes{1, 5}));  // the group in between reads b
  EXPECT_TRUE(grouping.join(Nodes{3, 5}));   // behind {2, 4} in both
  EXPECT_TRUE(grouping.join(Nodes{0, 1}));
  EXPECT_EQ(grouping.groups().size(), 3u);
  EXPECT_TRUE(grouping.taken(3));
}

TEST(Grouping, GroupsThatNeedEachOtherAreRefused) {
  const Made m;
  Grouping grouping(m.graph);
  EXPECT_TRUE(grouping.join(Nodes{2, 5}) == false);  // e, between, reads c
  EXPECT_TRUE(grouping.join(Nodes{1, 3}) == false);  // c, between, reads b
  EXPECT_TRUE(grouping.join(Nodes{1, 2, 3}));
  EXPECT_TRUE(grouping.join(Nodes{4, 5}));
}

TEST(GroupedPlan, EqualsTheSameGraphNodeByNode) {
  GroupingDevice plain;
  const auto expected = run(*Plan::compile(Made().graph, plain, {}));
  for (const std::vector<Nodes>& groups : {std::vector<Nodes>{{0, 1}},
                                           {{0, 1}, {2, 4}},
                                           {{2, 4}, {3, 5}},
                                           {{0, 1, 2, 3, 4, 5}},
                                           {{1, 2, 3}, {4, 5}}}) {
    GroupingDevice device(groups);
    const auto plan = Plan::compile(Made().graph, device, {});
    size_t saved = 0;
    for (const Nodes& group : groups) saved += group.size() - 1;
    EXPECT_EQ(plan->steps(), 6 - saved);
    EXPECT_EQ(run(*plan), expected);
    EXPECT_EQ(device.compiled_groups, static_cast<int>(groups.size()));
    EXPECT_EQ(plan->weight_bytes(), 12u);
  }
}

TEST(GroupedPlan, ValuesInsideHaveNoMemory) {
  GroupingDevice plain, device({{0, 1, 2, 3, 4, 5}});
  const uint64_t apart = Plan::compile(Made().graph, plain, {})->arena_bytes(),
                 together = Plan::compile(Made().graph, device, {})->arena_bytes();
  EXPECT_EQ(together, 2u * 512 * 3 * 4);  // b and f
  EXPECT_GT(apart, together);
}

TEST(GroupedPlan, RebindReachesConstantsInside) {
  GroupingDevice device({{0, 1}, {2, 4}});
  const Made m;
  const auto plan = Plan::compile(m.graph, device, {});
  const auto before = run(*plan);
  const uint16_t halves[] = {0x4000, 0x4200, 0x4400};  // 2, 3, 4
  plan->rebind(m.w, FormatId::kF16, std::as_bytes(std::span(halves)));
  EXPECT_EQ(device.compiled_groups, 4);  // both read it
  ir::Graph other = m.graph;
  const std::vector<float> same{2, 3, 4};
  other.set_constant(m.w, ir::constant_of_floats(same));
  GroupingDevice plain;
  const auto expected = run(*Plan::compile(std::move(other), plain, {}));
  EXPECT_EQ(run(*plan), expected);
  EXPECT_NE(before, expected);
  EXPECT_THROW(plan->rebind(m.w, FormatId::kBF16, std::as_bytes(std::span(halves))), Error);
  EXPECT_EQ(run(*plan), expected);
}

TEST(GroupedPlan, ObserverSeesStepsByTheirLastNode) {
  GroupingDevice device({{0, 1}, {2, 4}});
  const auto plan = Plan::compile(Made().graph, device, {});
  std::vector<std::string> names;
  plan->set_observer(
      [&](const ir::Node& node, std::span<const Buffer> in, std::span<const Buffer> out, double) {
        names.push_back(node.name);
        const auto id = static_cast<ir::NodeId>(&node - plan->graph().nodes().data());
        const auto nodes = plan->step_nodes(id);
        EXPECT_EQ(nodes.back(), id);
        const GroupEdges edges = Grouping(plan->graph()).edges(nodes);
        EXPECT_EQ(in.size(), edges.inputs.size());
        EXPECT_EQ(out.size(), edges.outputs.size());
      });
  run(*plan);
  EXPECT_EQ(names, (std::vector<std::string>{"b", "d", "e", "f"}));
  EXPECT_EQ(Nodes(plan->step_nodes(2).begin(), plan->step_nodes(2).end()), (Nodes{2, 4}));
}

TEST(GroupedPlan, StartsOnlyBetweenSteps) {
  GroupingDevice device({{0, 1}, {2, 4}});
  const auto plan = Plan::compile(Made().graph, device, {});
  for (const ir::NodeId point : {1, 3, 4}) {
    Recording recording({point});
    EXPECT_NE(message_of([&] { run(*plan, {.record = &recording}); }).find("between steps"),
              std::string::npos)
        << point;
  }
  Recording recording({2, 5});
  const auto expected = run(*plan, {.record = &recording});
  PlanLimits apart;
  apart.every_node = true;
  const auto single = Plan::compile(Made().graph, device, apart);
  EXPECT_EQ(single->steps(), 6u);
  Recording anywhere({1, 3, 4});
  EXPECT_EQ(run(*single, {.record = &anywhere}), expected);
  int ran = 0;
  plan->set_observer(
      [&](const ir::Node&, std::span<const Buffer>, std::span<const Buffer>, double) { ++ran; });
  EXPECT_EQ(run(*plan, {.resume = &recording, .point = 0}), expected);
  EXPECT_EQ(ran, 3);
  EXPECT_EQ(run(*plan, {.resume = &recording, .point = 1}), expected);
  EXPECT_EQ(ran, 4);
}

}  // namespace
}  // namespace hone::exec
