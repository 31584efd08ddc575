// The quantize pass: constants become lazy, and encode when an executor or a writer asks.
#include "passes/quantize.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "base/error.h"
#include "quant/encode.h"
#include "tensor/tensor.h"

namespace hone::passes {

namespace {

using ir::Constant;
using tensor::FormatId;

struct Job {
  Constant source;     // keeps its owner alive
  FormatId format;
  size_t rows, cols;   // as the bytes lie in memory
  std::vector<float> importance;
  ThreadPool* pool;
};

void encode(const Job& job, std::span<std::byte> dst) {
  std::vector<std::byte> produced;
  std::span<const std::byte> bytes = job.source.bytes;
  if (job.source.lazy()) {
    produced.resize(tensor::format_bytes(job.source.format, job.rows * job.cols));
    job.source.produce(produced);
    bytes = produced;
  }
  const tensor::TensorView view{job.source.format, {static_cast<int64_t>(job.rows), static_cast<int64_t>(job.cols)}, bytes};
  quant::encode_tensor(view, job.format, job.importance, dst, job.pool);
}

Job make_job(const ir::Graph& graph, const ir::Value& value, const Constant& constant, FormatId format,
             const QuantizeOptions& options) {
  if (value.shape.size() != 2 || value.dtype != ir::DType::kF32)
    fail(ErrorKind::kUsage, "[quantize] '{}' is {}; only matrices of numbers change format", constant.source,
         ir::type_text(graph, value.dtype, value.shape));
  const auto outer = static_cast<size_t>(value.shape[0].size), inner = static_cast<size_t>(value.shape[1].size);
  Job job{constant, format, constant.transposed ? inner : outer, constant.transposed ? outer : inner, {}, options.pool};
  if (!quant::can_encode(format))
    fail(ErrorKind::kUsage, "[quantize] '{}': {} is no format that can be written", constant.source, tensor::format(format).name);
  if (!tensor::divides(format, job.cols))
    fail(ErrorKind::kUsage, "[quantize] '{}': rows of {} elements do not fill blocks of {} ({}); choose another format",
         constant.source, job.cols, tensor::format(format).block, tensor::format(format).name);
  if (const auto found = options.importances.find(constant.source); found != options.importances.end()) {
    if (found->second.size() != job.cols)
      fail(ErrorKind::kUsage, "[quantize] '{}': {} importances for rows of {} elements", constant.source,
           found->second.size(), job.cols);
    job.importance = found->second;
  }
  return job;
}

}  // namespace

QuantizeResult quantize(ir::Graph graph, const QuantizeOptions& options) {
  int matched = 0;
  // A tied head is the embedding's bytes a second time: the constants share one job.
  std::map<std::tuple<std::string, const void*, size_t>, std::shared_ptr<const Job>> jobs;
  for (size_t i = 0; i < graph.values().size(); ++i) {
    const auto id = static_cast<ir::ValueId>(i);
    const Constant* constant = graph.constant_of(id);
    if (!constant || constant->source.empty()) continue;
    const auto wanted = options.formats.find(constant->source);
    if (wanted == options.formats.end() || wanted->second == constant->format) continue;
    Job made = make_job(graph, graph.value(id), *constant, wanted->second, options);
    const void* origin = constant->lazy() ? constant->owner.get() : constant->bytes.data();
    std::shared_ptr<const Job>& job = jobs[{constant->source, origin, made.cols}];
    if (!job || !origin) job = std::make_shared<const Job>(std::move(made));
    Constant lazy;
    lazy.format = wanted->second;
    lazy.transposed = constant->transposed;
    lazy.source = constant->source;
    lazy.owner = job;
    lazy.produce = [shared = job](std::span<std::byte> dst) { encode(*shared, dst); };
    graph.set_constant(id, std::move(lazy));
    ++matched;
  }
  return {std::move(graph), matched};
}

}  // namespace hone::passes
