// Copies the forward pass, then walks it backwards. The new graph grows in order of execution, so that a
// value that is computed again stands right before its use and the planner frees it right after.
#include "train/differentiate.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "ir/op_table.h"
#include "train/vjp.h"

namespace hone::train {

using ir::kNoValue;
using ir::ValueId;

namespace {

class Reverse {
 public:
  Reverse(const ir::Graph& forward, ValueId output, std::span<const ValueId> wrt,
          const GradientOptions& options)
      : forward_(forward),
        output_(output),
        wrt_(wrt),
        result_{ir::Graph(forward.name() + ".gradient"), {}, {}} {
    if (!forward.states().empty())
      fail(ErrorKind::kUnsupported, "[train] graph '{}' keeps state; build it without a cache",
           forward.name());
    mark_dependent();
    mark_used();
    check_support();
    copy_forward();
    keep_checkpoints(options.checkpoints);
    again_.assign(forward.values().size(), kNoValue);
    gradients_.assign(forward.values().size(), kNoValue);
    const ValueId seed = seed_value(options.seed);
    gradients_[index(output)] = seed;
  }

  Gradient run() {
    for (size_t n = forward_.nodes().size(); n-- > 0;) {
      const ir::Node& node = forward_.nodes()[n];
      const bool reached = std::any_of(node.outputs.begin(), node.outputs.end(),
                                       [&](ValueId v) { return gradients_[index(v)] != kNoValue; });
      const bool goes_on =
          std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) { return on_way(v); });
      if (reached && goes_on) step(node);
    }
    for (const ValueId v : wrt_) {
      const ValueId dy = gradients_[index(v)];
      result_.gradients.push_back(dy);
      if (dy != kNoValue) result_.graph.add_output(dy);
    }
    return std::move(result_);
  }

 private:
  static size_t index(ValueId v) { return static_cast<size_t>(v); }
  bool on_way(ValueId v) const { return v != kNoValue && dependent_[index(v)] && used_[index(v)]; }

  // Values that change when one of wrt does.
  void mark_dependent() {
    dependent_.assign(forward_.values().size(), false);
    for (const ValueId v : wrt_) {
      if (forward_.value(v).dtype != ir::DType::kF32)
        fail(ErrorKind::kUsage, "[train] value '{}' is not F32 and has no gradient", forward_.value(v).name);
      dependent_[index(v)] = true;
    }
    for (const ir::Node& node : forward_.nodes())
      if (std::any_of(node.inputs.begin(), node.inputs.end(),
                      [&](ValueId v) { return v != kNoValue && dependent_[index(v)]; }))
        for (const ValueId v : node.outputs) dependent_[index(v)] = true;
  }
  // Values that the output is made of.
  void mark_used() {
    used_.assign(forward_.values().size(), false);
    used_[index(output_)] = true;
    for (size_t n = forward_.nodes().size(); n-- > 0;) {
      const ir::Node& node = forward_.nodes()[n];
      if (std::none_of(node.outputs.begin(), node.outputs.end(), [&](ValueId v) { return used_[index(v)]; }))
        continue;
      for (const ValueId v : node.inputs)
        if (v != kNoValue) used_[index(v)] = true;
    }
  }
  void check_support() const {
    std::set<std::string> missing;
    for (const ir::Node& node : forward_.nodes()) {
      const bool here =
          std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId v) { return on_way(v); });
      if (here && !find_vjp(node.op->name)) missing.insert(node.op->name);
    }
    if (!missing.empty())
      fail(ErrorKind::kUnsupported, "[train] graph '{}': no derivative of {}", forward_.name(),
           fmt::join(missing, ", "));
  }

  // Symbols, inputs, constants and nodes with their ids and names; constants share the forward graph's bytes.
  void copy_forward() {
    ir::Graph& g = result_.graph;
    for (size_t s = 0; s < forward_.symbols().size(); ++s) {
      const auto& rule = forward_.rule(static_cast<ir::SymbolId>(s));
      if (rule.kind == ir::SymbolRule::Kind::kFree)
        g.symbol(forward_.symbols()[s]);
      else
        g.derive_symbol(forward_.symbols()[s], rule);
    }
    result_.values.assign(forward_.values().size(), kNoValue);
    size_t next_node = 0;
    for (size_t v = 0; v < forward_.values().size(); ++v) {
      const ir::Value& value = forward_.values()[v];
      if (value.is_input) {
        result_.values[v] = g.add_input(value.name, value.dtype, value.shape);
      } else if (value.constant >= 0) {
        std::vector<int64_t> shape;
        for (const ir::Dim& dim : value.shape) shape.push_back(dim.size);
        result_.values[v] = g.add_constant(value.name, value.dtype, std::move(shape),
                                           forward_.constants()[static_cast<size_t>(value.constant)]);
      } else {
        const auto node = static_cast<size_t>(value.producer);
        for (; next_node <= node; ++next_node) copy_node(forward_.nodes()[next_node]);
      }
    }
    for (const ValueId v : forward_.outputs()) g.add_output(result_.values[index(v)]);
  }
  void copy_node(const ir::Node& node) {
    std::vector<ValueId> inputs;
    std::vector<std::string> names;
    for (const ValueId v : node.inputs) inputs.push_back(v == kNoValue ? kNoValue : result_.values[index(v)]);
    for (const ValueId v : node.outputs) names.push_back(forward_.value(v).name);
    const auto outputs =
        result_.graph.add_node(node.op->name, node.name, std::move(inputs), node.attributes, names);
    for (size_t i = 0; i < outputs.size(); ++i) result_.values[index(node.outputs[i])] = outputs[i];
  }

  // Up to the last checkpoint only those are kept; behind it the backward pass comes at once.
  void keep_checkpoints(const std::vector<ValueId>& checkpoints) {
    kept_.assign(forward_.values().size(), checkpoints.empty());
    ir::NodeId last = -1;
    for (const ValueId v : checkpoints) {
      kept_[index(v)] = true;
      last = std::max(last, forward_.value(v).producer);
    }
    for (size_t v = 0; v < kept_.size(); ++v) {
      const ir::Value& value = forward_.values()[v];
      if (value.producer < 0 || value.producer > last) kept_[v] = true;
    }
  }

  ValueId seed_value(ValueId wanted) {
    const ir::Value& output = forward_.value(output_);
    if (wanted == kNoValue)
      return result_.graph.add_input(fresh_name(result_.graph, "gradient." + output.name), output.dtype,
                                     output.shape);
    if (forward_.value(wanted).shape != output.shape)
      fail(ErrorKind::kUsage, "[train] seed '{}' does not have the shape of output '{}'",
           forward_.value(wanted).name, output.name);
    return result_.values[index(wanted)];
  }

  // A value of the forward pass for use in the backward pass.
  ValueId recall(ValueId v) {
    if (kept_[index(v)]) return result_.values[index(v)];
    if (again_[index(v)] != kNoValue) return again_[index(v)];
    const ir::Node& node = forward_.nodes()[static_cast<size_t>(forward_.value(v).producer)];
    std::vector<ValueId> inputs;
    std::vector<std::string> names;
    for (const ValueId in : node.inputs) inputs.push_back(in == kNoValue ? kNoValue : recall(in));
    for (const ValueId out : node.outputs)
      names.push_back(fresh_name(result_.graph, "again." + forward_.value(out).name));
    const auto outputs =
        result_.graph.add_node(node.op->name, fresh_name(result_.graph, "again." + node.name),
                               std::move(inputs), node.attributes, names);
    for (size_t i = 0; i < outputs.size(); ++i) again_[index(node.outputs[i])] = outputs[i];
    return again_[index(v)];
  }

  void step(const ir::Node& node) {
    Vjp c{result_.graph, node, {}, {}, {}, {}, {}, {}, {}};
    for (const ValueId v : node.outputs) c.gradients.push_back(gradients_[index(v)]);
    c.input = [&](size_t i) { return recall(node.inputs[i]); };
    c.output = [&](size_t i) { return recall(node.outputs[i]); };
    c.shape_of = [&](size_t i) { return result_.values[index(node.inputs[i])]; };
    c.wanted = [&](size_t i) { return i < node.inputs.size() && on_way(node.inputs[i]); };
    c.give = [&](size_t i, ValueId dx) {
      if (!on_way(node.inputs[i])) return;
      ValueId& sum = gradients_[index(node.inputs[i])];
      sum = sum == kNoValue ? dx : c.add("Add", {sum, dx});
    };
    c.negated = [&](ValueId x) {
      const auto found = negated_.find(x);
      if (found != negated_.end()) return found->second;
      if (minus_one_ == kNoValue) minus_one_ = c.number(-1);
      return negated_[x] = c.add("Mul", {x, minus_one_});
    };
    find_vjp(node.op->name)->run(c);
  }

  const ir::Graph& forward_;
  ValueId output_;
  std::span<const ValueId> wrt_;
  Gradient result_;
  std::vector<bool> dependent_, used_, kept_;
  std::vector<ValueId> again_, gradients_;  // per value of the forward graph
  std::unordered_map<ValueId, ValueId> negated_;
  ValueId minus_one_ = kNoValue;
};

}  // namespace

Gradient differentiate(const ir::Graph& forward, ValueId output, std::span<const ValueId> wrt,
                       const GradientOptions& options) {
  return Reverse(forward, output, wrt, options).run();
}

}  // namespace hone::train
