#include "app/run_graph.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "base/error.h"
#include "exec/plan.h"
#include "formats/npy.h"

namespace hone::app {
namespace {

using tensor::DType;
using tensor::FormatId;
using tensor::Tensor;

template <typename T>
void widen(const tensor::TensorView& view, std::vector<int64_t>& out) {
  T value;
  for (size_t i = 0; i + sizeof(T) <= view.bytes.size(); i += sizeof(T)) {
    std::memcpy(&value, view.bytes.data() + i, sizeof(T));
    out.push_back(static_cast<int64_t>(value));
  }
}

// Integers of any width as I64.
std::vector<int64_t> integers(const Tensor& array, const std::string& what) {
  std::vector<int64_t> out;
  const tensor::TensorView view = array.view();
  switch (tensor::format(view.format).dtype) {
    case DType::kI8:
      widen<int8_t>(view, out);
      break;
    case DType::kU8:
    case DType::kBool:
      widen<uint8_t>(view, out);
      break;
    case DType::kI16:
      widen<int16_t>(view, out);
      break;
    case DType::kU16:
      widen<uint16_t>(view, out);
      break;
    case DType::kI32:
      widen<int32_t>(view, out);
      break;
    case DType::kU32:
      widen<uint32_t>(view, out);
      break;
    case DType::kI64:
    case DType::kU64:
      widen<int64_t>(view, out);
      break;
    default:
      fail(ErrorKind::kBadInput, "[run] input '{}' holds {}, the graph wants integers", what,
           tensor::dtype_name(tensor::format(view.format).dtype));
  }
  return out;
}

Tensor as_type(const Tensor& array, DType wanted, const std::string& what) {
  if (wanted == DType::kI64) {
    const std::vector<int64_t> values = integers(array, what);
    Tensor out(FormatId::kI64, array.shape());
    std::memcpy(out.bytes().data(), values.data(), values.size() * sizeof(int64_t));
    return out;
  }
  if (wanted == DType::kF32) {
    if (!tensor::format(array.format()).decode)
      fail(ErrorKind::kBadInput, "[run] input '{}' must hold floating-point numbers", what);
    Tensor out(FormatId::kF32, array.shape());
    tensor::decode_rows(array.view(), 0, array.view().rows(), out.f32());
    return out;
  }
  if (tensor::format(array.format()).dtype != wanted)
    fail(ErrorKind::kBadInput, "[run] input '{}' must hold {}", what, tensor::dtype_name(wanted));
  Tensor out(array.format(), array.shape());
  std::memcpy(out.bytes().data(), array.view().bytes.data(), out.bytes().size());
  return out;
}

// Sizes of the graph's symbols, from the shapes of its inputs.
class Symbols {
 public:
  explicit Symbols(const ir::Graph& graph) : graph_(graph) {}

  void bind(const ir::Value& input, const tensor::Shape& shape) {
    if (shape.size() != input.shape.size())
      fail(ErrorKind::kBadInput, "[run] input '{}' has shape {}, the graph wants {} dimensions", input.name,
           tensor::shape_text(shape), input.shape.size());
    for (size_t i = 0; i < shape.size(); ++i) {
      const ir::Dim& dim = input.shape[i];
      int64_t wanted = dim.size;
      if (!dim.known()) wanted = sizes_.emplace(dim.symbol, shape[i]).first->second;
      if (wanted != shape[i])
        fail(ErrorKind::kBadInput, "[run] input '{}' has shape {}; dimension {} must be {}", input.name,
             tensor::shape_text(shape), i, wanted);
      if (shape[i] < 1) fail(ErrorKind::kBadInput, "[run] input '{}' is empty", input.name);
    }
  }

  exec::PlanLimits limits() const {
    exec::PlanLimits limits;
    for (const auto& [symbol, size] : sizes_) {
      const std::string& name = graph_.symbols()[static_cast<size_t>(symbol)];
      if (name == "batch")
        limits.batch = size;
      else if (name == "sequence")
        limits.sequence = limits.context = size;
      else if (name == "rows")
        limits.rows = size;
      else
        limits.others.emplace_back(name, size);
    }
    return limits;
  }

 private:
  const ir::Graph& graph_;
  std::map<ir::SymbolId, int64_t> sizes_;
};

Tensor positions(const tensor::Shape& shape) {
  Tensor out(FormatId::kI64, shape);
  auto* p = reinterpret_cast<int64_t*>(out.bytes().data());
  for (uint64_t i = 0; i < tensor::element_count(shape); ++i) p[i] = static_cast<int64_t>(i) % shape.back();
  return out;
}

std::string input_names(const ir::Graph& graph) {
  std::string names;
  for (const ir::ValueId id : graph.inputs()) names += (names.empty() ? "" : ", ") + graph.value(id).name;
  return names;
}

void check_ids(const Tensor& ids, int64_t vocab) {
  const auto* p = reinterpret_cast<const int64_t*>(ids.view().bytes.data());
  for (size_t i = 0; i < ids.view().bytes.size() / sizeof(int64_t); ++i)
    if (p[i] < 0 || p[i] >= vocab)
      fail(ErrorKind::kBadInput, "[run] input_ids: {} is no token; the vocabulary has {}", p[i], vocab);
}

}  // namespace

std::vector<GraphOutput> run_graph(const models::Model& model, exec::Device& device,
                                   const std::vector<std::pair<std::string, std::filesystem::path>>& inputs,
                                   const std::filesystem::path& output,
                                   const std::function<ir::Graph(ir::Graph)>& adapt) {
  std::map<std::string, Tensor> arrays;
  for (const auto& [name, path] : inputs)
    if (!arrays.emplace(name, formats::read_npy(path)).second)
      fail(ErrorKind::kUsage, "[run] input '{}' is given twice", name);

  models::Family::GraphOptions options;
  options.with_cache = false;
  if (const auto ids = arrays.find("input_ids"); ids != arrays.end() && !ids->second.shape().empty())
    options.max_context = ids->second.shape().back();
  ir::Graph graph = model.graph(options);
  if (adapt) graph = adapt(std::move(graph));
  std::map<std::string, Tensor> fed;
  Symbols symbols(graph);
  for (const ir::ValueId id : graph.inputs()) {
    const ir::Value& input = graph.value(id);
    const auto given = arrays.find(input.name);
    if (given == arrays.end()) continue;
    Tensor value = as_type(given->second, input.dtype, input.name);
    symbols.bind(input, value.shape());
    fed.emplace(input.name, std::move(value));
    arrays.erase(given);
  }
  if (!arrays.empty())
    fail(ErrorKind::kUsage, "[run] the graph has no input '{}'; it has {}", arrays.begin()->first,
         input_names(graph));
  if (const auto ids = fed.find("input_ids"); ids != fed.end()) {
    check_ids(ids->second, model.config.vocab_size);
    if (!fed.count("position_ids")) fed.emplace("position_ids", positions(ids->second.shape()));
  }
  for (const ir::ValueId id : graph.inputs())
    if (!fed.count(graph.value(id).name))
      fail(ErrorKind::kUsage, "[run] input '{}' is missing; give --input {}=FILE.npy", graph.value(id).name,
           graph.value(id).name);

  const auto plan = exec::Plan::compile(std::move(graph), device, symbols.limits());
  std::vector<exec::Input> list;
  for (const auto& [name, value] : fed) list.push_back({name, value.view()});
  plan->run(list, nullptr);

  std::vector<GraphOutput> outputs;
  std::vector<std::pair<std::string, tensor::TensorView>> views;
  for (size_t i = 0; i < plan->graph().outputs().size(); ++i) {
    const exec::Buffer buffer = plan->output(i);
    GraphOutput out{plan->graph().value(plan->graph().outputs()[i]).name,
                    tensor::Shape(buffer.dims, buffer.dims + buffer.rank)};
    const size_t bytes = tensor::format_bytes(buffer.format, tensor::element_count(out.shape));
    views.emplace_back(out.name, tensor::TensorView{buffer.format, out.shape, {buffer.data, bytes}});
    outputs.push_back(std::move(out));
  }
  formats::write_npz(output, views);
  return outputs;
}

}  // namespace hone::app
