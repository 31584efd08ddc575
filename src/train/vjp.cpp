// One function per op, in the order of the table at the end.
#include "train/vjp.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"

namespace hone::train {

using ir::kNoValue;
using ir::ValueId;

std::string fresh_name(const ir::Graph& graph, const std::string& wanted) {
  std::string name = wanted;
  for (int i = 2; graph.find_value(name) != kNoValue; ++i) name = fmt::format("{}.{}", wanted, i);
  return name;
}

std::vector<ValueId> Vjp::nodes(std::string_view op, std::vector<ValueId> inputs, Attributes attributes) {
  const std::string name = fresh_name(graph, "gradient." + node.name);
  std::vector<std::string> outputs{name};
  const size_t count = op == "hone.AttentionGradient" ? 3 : op == "hone.RMSNormalizationGradient" ? 2 : 1;
  for (size_t i = 1; i < count; ++i)
    outputs.push_back(fresh_name(graph, fmt::format("{}.output{}", name, i)));
  return graph.add_node(op, name, std::move(inputs), std::move(attributes), std::move(outputs));
}

ValueId Vjp::number(float value) {
  return graph.add_constant(fresh_name(graph, fmt::format("number.{}", value)), ir::DType::kF32, {},
                            ir::constant_of_floats({&value, 1}));
}

ValueId Vjp::ints(std::vector<int64_t> values) {
  return graph.add_constant(fresh_name(graph, "gradient." + node.name + ".ints"), ir::DType::kI64,
                            {static_cast<int64_t>(values.size())}, ir::constant_of_ints(values));
}

void Vjp::give_summed(size_t i, ValueId dy) {
  const ValueId like = shape_of(i);
  give(i, graph.value(like).shape == graph.value(dy).shape ? dy : add("hone.SumTo", {dy, like}));
}

namespace {

// The last two axes exchanged.
ValueId turned(Vjp& c, ValueId x) {
  std::vector<int64_t> order;
  const auto rank = static_cast<int64_t>(c.graph.value(x).shape.size());
  for (int64_t i = 0; i < rank; ++i) order.push_back(i);
  std::swap(order[static_cast<size_t>(rank) - 1], order[static_cast<size_t>(rank) - 2]);
  return c.add("Transpose", {x}, {{"perm", order}});
}

void matmul(Vjp& c) {
  const ValueId dy = c.gradients[0];
  const size_t rank_a = c.graph.value(c.shape_of(0)).shape.size(),
               rank_b = c.graph.value(c.shape_of(1)).shape.size();
  if (rank_a < 2 || rank_b < 2)
    fail(ErrorKind::kUnsupported, "[train] node '{}': the derivative of a product with a vector is not known",
         c.node.name);
  if (rank_b == 2) {  // one weight for all rows
    if (c.wanted(0)) c.give(0, c.add("hone.MatMulTransposed", {dy, c.input(1)}));
    if (c.wanted(1)) c.give(1, c.add("hone.WeightGradient", {c.input(0), dy}));
    return;
  }
  if (c.wanted(0)) c.give_summed(0, c.add("MatMul", {dy, turned(c, c.input(1))}));
  if (c.wanted(1)) c.give_summed(1, c.add("MatMul", {turned(c, c.input(0)), dy}));
}

void add(Vjp& c) {
  for (const size_t i : {0, 1})
    if (c.wanted(i)) c.give_summed(i, c.gradients[0]);
}
void sub(Vjp& c) {
  if (c.wanted(0)) c.give_summed(0, c.gradients[0]);
  if (c.wanted(1)) c.give_summed(1, c.negated(c.gradients[0]));
}
void mul(Vjp& c) {
  for (const size_t i : {0, 1})
    if (c.wanted(i)) c.give_summed(i, c.add("Mul", {c.gradients[0], c.input(1 - i)}));
}
void div(Vjp& c) {  // y = a / b: dy / b and -dy y / b
  const ValueId share = c.add("Div", {c.gradients[0], c.input(1)});
  if (c.wanted(0)) c.give_summed(0, share);
  if (c.wanted(1)) c.give_summed(1, c.negated(c.add("Mul", {share, c.output(0)})));
}

void swish(Vjp& c) {
  c.give(0, c.add("hone.SwishGradient", {c.gradients[0], c.input(0)}, c.node.attributes));
}
void gelu(Vjp& c) {
  c.give(0, c.add("hone.GeluGradient", {c.gradients[0], c.input(0)}, c.node.attributes));
}
void softmax(Vjp& c) {
  c.give(0, c.add("hone.SoftmaxGradient", {c.gradients[0], c.output(0)}, c.node.attributes));
}
void tanh(Vjp& c) {  // dy (1 - y^2)
  const ValueId y = c.output(0);
  c.give(0, c.add("Mul", {c.gradients[0], c.add("Sub", {c.number(1), c.add("Mul", {y, y})})}));
}
void sigmoid(Vjp& c) {  // dy y (1 - y)
  const ValueId y = c.output(0);
  c.give(0, c.add("Mul", {c.gradients[0], c.add("Mul", {y, c.add("Sub", {c.number(1), y})})}));
}
void exponential(Vjp& c) {
  c.give(0, c.add("Mul", {c.gradients[0], c.output(0)}));
}
void square_root(Vjp& c) {
  c.give(0, c.add("Div", {c.gradients[0], c.add("Mul", {c.number(2), c.output(0)})}));
}
void identity(Vjp& c) {
  c.give(0, c.gradients[0]);
}

void rms_normalization(Vjp& c) {
  const std::vector<ValueId> both =
      c.nodes("hone.RMSNormalizationGradient", {c.gradients[0], c.input(0), c.input(1)}, c.node.attributes);
  if (c.wanted(0)) c.give(0, both[0]);
  if (c.wanted(1)) c.give(1, both[1]);
}

// A rotation's transpose is the rotation by the negative angle.
void rotary_embedding(Vjp& c) {
  if (c.wanted(1) || c.wanted(2))
    fail(ErrorKind::kUnsupported, "[train] node '{}': rotary tables have no derivative here", c.node.name);
  std::vector<ValueId> inputs{c.gradients[0], c.input(1), c.negated(c.input(2))};
  if (c.node.inputs.size() > 3 && c.node.inputs[3] != kNoValue) inputs.push_back(c.input(3));
  c.give(0, c.add("RotaryEmbedding", std::move(inputs), c.node.attributes));
}

void attention(Vjp& c) {
  for (size_t i = 3; i < c.node.inputs.size(); ++i)
    if (c.node.inputs[i] != kNoValue)
      fail(ErrorKind::kUnsupported,
           "[train] node '{}': attention with a mask or a cache has no derivative here", c.node.name);
  const std::vector<ValueId> all = c.nodes(
      "hone.AttentionGradient", {c.gradients[0], c.input(0), c.input(1), c.input(2)}, c.node.attributes);
  for (size_t i = 0; i < 3; ++i)
    if (c.wanted(i)) c.give(i, all[i]);
}

void gather(Vjp& c) {
  if (c.node.int_or("axis", 0) != 0)
    fail(ErrorKind::kUnsupported, "[train] node '{}': Gather has a derivative along axis 0 only",
         c.node.name);
  c.give(0, c.add("hone.GatherGradient", {c.gradients[0], c.input(1), c.shape_of(0)}));
}

// A constant shape where one can say it, so that the forward value need not live on for its shape.
void reshape(Vjp& c) {
  const ir::Shape &x = c.graph.value(c.shape_of(0)).shape, &dy = c.graph.value(c.gradients[0]).shape;
  std::vector<int64_t> target;
  int free = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const bool same = i < dy.size() && dy[i] == x[i];
    target.push_back(x[i].known() ? x[i].size : same ? 0 : -1);
    free += target.back() == -1;
  }
  const bool plain = free <= 1 && std::find(target.begin(), target.end(), 0) == target.end();
  const bool zeros =
      std::all_of(x.begin(), x.end(), [](const ir::Dim& d) { return !d.known() || d.size != 0; });
  if (free <= 1 && (plain || zeros)) return c.give(0, c.add("Reshape", {c.gradients[0], c.ints(target)}));
  c.give(0, c.add("hone.ReshapeLike", {c.gradients[0], c.shape_of(0)}));
}
void transpose(Vjp& c) {
  const ir::Attribute* perm = c.node.find("perm");
  const size_t rank = c.graph.value(c.shape_of(0)).shape.size();
  std::vector<int64_t> back(rank);
  for (size_t i = 0; i < rank; ++i) {
    const size_t from = perm ? static_cast<size_t>(std::get<std::vector<int64_t>>(*perm)[i]) : rank - 1 - i;
    back[from] = static_cast<int64_t>(i);
  }
  c.give(0, c.add("Transpose", {c.gradients[0]}, {{"perm", back}}));
}
void split(Vjp& c) {
  for (const ValueId dy : c.gradients)
    if (dy == kNoValue)
      fail(ErrorKind::kUnsupported,
           "[train] node '{}': a part of Split that nothing uses has no derivative here", c.node.name);
  c.give(0, c.add("Concat", c.gradients, {{"axis", c.node.int_or("axis", 0)}}));
}

constexpr VjpRow kRows[] = {
    {"MatMul", matmul},
    {"Add", add},
    {"Sub", sub},
    {"Mul", mul},
    {"Div", div},
    {"Swish", swish},
    {"Gelu", gelu},
    {"Softmax", softmax},
    {"Tanh", tanh},
    {"Sigmoid", sigmoid},
    {"Exp", exponential},
    {"Sqrt", square_root},
    {"Identity", identity},
    {"RMSNormalization", rms_normalization},
    {"RotaryEmbedding", rotary_embedding},
    {"Attention", attention},
    {"Gather", gather},
    {"Reshape", reshape},
    {"Transpose", transpose},
    {"Split", split},
};

}  // namespace

const VjpRow* find_vjp(std::string_view op) {
  const auto* found =
      std::find_if(std::begin(kRows), std::end(kRows), [&](const VjpRow& r) { return r.op == op; });
  return found == std::end(kRows) ? nullptr : found;
}

}  // namespace hone::train
