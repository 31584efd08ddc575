// The LoRA pass: a low-rank detour beside each adapted product.
#include "passes/lora.h"

#include <algorithm>
#include <set>
#include <vector>

#include "base/error.h"
#include "ir/op_table.h"
#include "passes/rewrite.h"

namespace hone::passes {

using ir::ValueId;
using tensor::LowRankUpdate;

namespace {

constexpr size_t kMaxListed = 8;

std::string listed(const std::vector<std::string>& items) {
  std::string text;
  for (size_t i = 0; i < std::min(items.size(), kMaxListed); ++i) text += (i ? ", " : "") + items[i];
  if (items.size() > kMaxListed) text += fmt::format(" and {} more", items.size() - kMaxListed);
  return text;
}

class Applier {
 public:
  Applier(const ir::Graph& source, std::span<const LoraAdapter> adapters)
      : source_(source), adapters_(adapters), used_(adapters.size()) {}

  LoraResult run() {
    refuse_magnitudes();
    LoraResult result;
    result.graph =
        rewrite(source_, [this](ir::Graph& out, const ir::Node& node, const std::vector<ValueId>& inputs,
                                std::vector<ValueId>& outputs) { return visit(out, node, inputs, outputs); });
    refuse_unused();
    result.matched = matched_;
    return result;
  }

 private:
  // Which input of a node is the weight: MatMul multiplies by its second, Gather takes rows of its first.
  static int weight_input(const ir::Node& node) {
    const std::string_view op = node.op->name;
    if (op == "MatMul") return 1;
    return op == "Gather" && node.int_or("axis", 0) == 0 ? 0 : -1;
  }

  bool visit(ir::Graph& out, const ir::Node& node, const std::vector<ValueId>& inputs,
             std::vector<ValueId>& outputs) {
    const int at = weight_input(node);
    if (at < 0) return false;
    const ValueId weight = node.inputs[static_cast<size_t>(at)];
    if (!source_.constant_of(weight)) return false;
    const std::string& weight_name = source_.value(weight).name;
    std::vector<size_t> applying;
    for (size_t i = 0; i < adapters_.size(); ++i)
      if (adapters_[i].updates->contains(weight_name)) applying.push_back(i);
    if (applying.empty()) return false;

    const std::string name = source_.value(node.outputs[0]).name;
    ValueId sum = out.add_node(node.op->name, free_name(source_, out, node.name + ".base"), inputs,
                               node.attributes, {free_name(source_, out, name + ".base")})[0];
    for (const size_t i : applying) {
      const std::string own = fmt::format("{}.lora{}", name, i);
      const ValueId delta = detour(out, node, inputs, weight_name, adapters_[i], own);
      sum = out.add("Add", i == applying.back() ? name : free_name(source_, out, own + ".sum"), {sum, delta});
      used_[i].insert(weight_name);
      ++matched_;
    }
    outputs = {sum};
    return true;
  }

  // scale * (x A^T) B^T, or scale * B[ids] A.
  ValueId detour(ir::Graph& out, const ir::Node& node, const std::vector<ValueId>& inputs,
                 const std::string& weight, const LoraAdapter& adapter, const std::string& name) {
    const LowRankUpdate& u = adapter.updates->at(weight);
    const bool gather = weight_input(node) == 0;
    // A weight that lies as [in, out], and a table of rows, take the product from the other side.
    const bool turned = !gather && source_.constant_of(node.inputs[1])->transposed;
    const tensor::TensorView& first = turned ? u.a : u.b;
    const tensor::TensorView& second = turned ? u.b : u.a;
    const ValueId first_id =
        matrix(out, weight + (turned ? ".lora_a" : ".lora_b"), first, turned, adapter, name + ".first");
    const ValueId second_id =
        matrix(out, weight + (turned ? ".lora_b" : ".lora_a"), second, turned, adapter, name + ".second");
    const auto scale = static_cast<float>(u.scale * adapter.scale);
    const ValueId scale_id = out.add_constant(free_name(source_, out, name + ".scale"), ir::DType::kF32, {},
                                              ir::constant_of_floats({&scale, 1}));
    const ValueId narrow =
        gather ? out.add("Gather", free_name(source_, out, name + ".rows"), {first_id, inputs[1]},
                         node.attributes)
               : out.add("MatMul", free_name(source_, out, name + ".down"), {inputs[0], first_id});
    const ValueId scaled = out.add("Mul", free_name(source_, out, name + ".scaled"), {narrow, scale_id});
    return out.add("MatMul", free_name(source_, out, name + ".up"), {scaled, second_id});
  }

  ValueId matrix(ir::Graph& out, const std::string& tensor_name, const tensor::TensorView& view, bool turned,
                 const LoraAdapter& adapter, const std::string& name) {
    HONE_CHECK(view.shape.size() == 2 && !view.source);
    ir::Constant constant;
    constant.format = view.format;
    constant.transposed = turned;
    constant.bytes = view.bytes;
    constant.owner = adapter.owner;
    constant.source = tensor_name;
    std::vector<int64_t> shape = view.shape;
    if (turned) std::swap(shape[0], shape[1]);
    return out.add_constant(free_name(source_, out, name), ir::DType::kF32, std::move(shape),
                            std::move(constant));
  }

  void refuse_magnitudes() const {
    for (const LoraAdapter& adapter : adapters_) {
      std::vector<std::string> names;
      for (const auto& [weight, u] : *adapter.updates)
        if (!u.magnitude.empty()) names.push_back(fmt::format("'{}'", weight));
      if (!names.empty())
        fail(ErrorKind::kUnsupported,
             "[lora] {}: is DoRA ({}), which cannot be applied at run time; merge it into the model",
             adapter.name, listed(names));
    }
  }
  void refuse_unused() const {
    for (size_t i = 0; i < adapters_.size(); ++i) {
      std::vector<std::string> names;
      for (const auto& [weight, u] : *adapters_[i].updates)
        if (!used_[i].contains(weight)) names.push_back(fmt::format("'{}'", weight));
      if (!names.empty())
        fail(ErrorKind::kUsage,
             "[lora] {}: no product of the graph uses {}; merge the adapter into the model instead",
             adapters_[i].name, listed(names));
    }
  }

  const ir::Graph& source_;
  std::span<const LoraAdapter> adapters_;
  std::vector<std::set<std::string>> used_;
  int matched_ = 0;
};

}  // namespace

LoraResult apply_lora(const ir::Graph& graph, std::span<const LoraAdapter> adapters) {
  return Applier(graph, adapters).run();
}

}  // namespace hone::passes
