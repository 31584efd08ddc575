#include "evaluate/moments.h"

#include "base/error.h"
#include "evaluate/importance.h"
#include "kernels/gradients.h"

namespace hone::evaluate {

Moments collect_moments(const models::Model& model, exec::Device& device, const std::vector<std::vector<text::TokenId>>& windows,
                        ProgressSink* progress) {
  struct Sum {
    std::shared_ptr<std::vector<float>> total;
    int64_t rows = 0;
  };
  std::map<ir::ValueId, Sum> sums;
  std::map<std::string, ir::ValueId> input_of;
  std::map<ir::ValueId, std::string> first_of;  // the weight that counts an input
  std::vector<float> product;
  std::vector<std::byte> scratch;
  observe_inputs(model, device, windows, "collecting covariances", progress,
                 [&](const std::string& source, ir::ValueId input, const exec::Buffer& x) {
                   HONE_CHECK(x.format == tensor::FormatId::kF32 && x.rank > 0);
                   input_of[source] = input;
                   if (first_of.try_emplace(input, source).first->second != source) return;
                   const auto width = static_cast<size_t>(x.dims[x.rank - 1]);
                   const auto rows = static_cast<size_t>(x.elements()) / width;
                   Sum& sum = sums[input];
                   if (!sum.total) sum.total = std::make_shared<std::vector<float>>(width * width);
                   product.resize(width * width);
                   scratch.resize(kernels::weight_gradient_scratch_bytes(rows, width, device.pool().size()) + 64);
                   const size_t past = reinterpret_cast<uintptr_t>(scratch.data()) % 64;
                   kernels::weight_gradient(x.f32(), rows, width, x.f32(), width, product.data(), device.pool(),
                                            std::span(scratch).subspan(64 - past));
                   float* total = sum.total->data();
                   for (size_t i = 0; i < product.size(); ++i) total[i] += product[i];
                   sum.rows += static_cast<int64_t>(rows);
                 });
  for (auto& [input, sum] : sums)
    for (float& v : *sum.total) v /= static_cast<float>(sum.rows);
  Moments moments;
  for (const auto& [source, input] : input_of) moments[source] = sums.at(input).total;
  return moments;
}

}  // namespace hone::evaluate
