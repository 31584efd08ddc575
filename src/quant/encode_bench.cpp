// Speed of the encoders on one thread: weights per second by format and instruction set, with heavy-tailed
// importances. (tests/peers/encode_test.py times hone and llama.cpp side by side.)
#include <benchmark/benchmark.h>

#include <cmath>
#include <vector>

#include "base/random.h"
#include "quant/encoders.h"

namespace {

using namespace hone;

void encode_matrix(benchmark::State& state, tensor::FormatId format, Isa isa) {
  constexpr size_t kRows = 64, kCols = 1536;
  Random random(1);
  std::vector<float> x(kRows * kCols), w(kCols);
  for (float& v : x) v = static_cast<float>(random.normal());
  for (float& v : w) v = static_cast<float>(std::exp(random.normal()));
  const uint64_t row_bytes = tensor::format_bytes(format, kCols);
  std::vector<std::byte> out(kRows * row_bytes);
  const quant::EncodeRow encode = quant::find_encoder(format, isa);
  for (auto _ : state)
    for (size_t r = 0; r < kRows; ++r) encode(x.data() + r * kCols, w.data(), kCols, out.data() + r * row_bytes);
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(x.size()));
}

[[maybe_unused]] const bool kRegistered = [] {
  for (const tensor::QuantFormat& format : tensor::all_formats())
    for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512})
      if (format.quantized() && isa_supported(isa) && quant::find_encoder(format.id, isa))
        benchmark::RegisterBenchmark((std::string("encode/") + format.name + "/" + isa_name(isa)).c_str(), encode_matrix,
                                     format.id, isa);
  return true;
}();

}  // namespace
