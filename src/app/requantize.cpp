#include "app/requantize.h"

#include "base/error.h"
#include "base/file.h"
#include "quant/encode.h"

namespace hone::app {
namespace {

using tensor::FormatId;

void encode(const tensor::OutputTensor& source, FormatId to, const std::vector<float>& importance,
            ThreadPool& pool, quant::Effort effort, std::span<std::byte> dst) {
  if (source.view.format == source.format && source.view.shape == source.shape) {
    quant::encode_tensor(source.view, to, importance, dst, &pool, effort);
    MappedFile::forget(source.view.bytes);  // a model passes through once: its pages need not stay
    return;
  }
  std::vector<std::byte> bytes(tensor::format_bytes(source.format, tensor::element_count(source.shape)));
  source.produce(bytes);
  quant::encode_tensor({source.format, source.shape, bytes}, to, importance, dst, &pool, effort);
}

}  // namespace

RequantizeReport requantize(models::GgufExport& model, const std::vector<FormatId>& formats,
                            const std::map<std::string, std::vector<float>>& importances, ThreadPool& pool,
                            quant::Effort effort) {
  HONE_CHECK(formats.size() == model.tensors.size());
  RequantizeReport report;
  uint64_t bytes = 0, elements = 0;
  for (size_t i = 0; i < formats.size(); ++i) {
    tensor::OutputTensor& out = model.tensors[i];
    const FormatId to = formats[i];
    const uint64_t count = tensor::element_count(out.shape);
    if (to != out.format) {
      if (!quant::can_encode(to))
        fail(ErrorKind::kUnsupported, "[quantize] {}: this version cannot encode {}", out.name,
             tensor::format(to).name);
      if (!tensor::divides(to, static_cast<uint64_t>(out.shape.back())))
        fail(ErrorKind::kUsage, "[quantize] {}: rows of {} do not divide into blocks of {}", out.name,
             out.shape.back(), tensor::format(to).name);
      std::vector<float> importance;
      if (const auto found = importances.find(out.name); found != importances.end()) {
        importance = found->second;
        const uint64_t columns = static_cast<uint64_t>(out.shape.back()),
                       rows = columns ? count / columns : 0;
        const uint64_t sets = columns ? importance.size() / columns : 0;
        if (sets == 0 || importance.size() % columns != 0 ||
            (sets > 1 && (out.shape.size() < 3 || rows % sets != 0)))
          fail(ErrorKind::kBadInput,
               "[quantize] {}: {} importances for rows of {}; the matrix is of another model", out.name,
               importance.size(), columns);
      }
      ++report.changed;
      report.from_quantized += tensor::format(out.format).quantized();
      out.produce = [source = out, to, importance = std::move(importance), &pool,
                     effort](std::span<std::byte> dst) { encode(source, to, importance, pool, effort, dst); };
      out.format = to;
      out.view = {tensor::FormatId::kF32, {0}, {}};
    }
    bytes += tensor::format_bytes(to, count);
    elements += count;
  }
  report.bits_per_weight = elements ? 8.0 * static_cast<double>(bytes) / static_cast<double>(elements) : 0;
  return report;
}

}  // namespace hone::app
