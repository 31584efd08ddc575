// Speed of the encoders on one thread: weights per second by format and instruction set, plain and with
// heavy-tailed importances, and of the thorough search that takes over where blocks lie on a lattice. (tests/peers/encode_test.py times hone and llama.cpp side by side.)
#include <benchmark/benchmark.h>

#include <cmath>
#include <vector>

#include "base/random.h"
#include "quant/encoders.h"

namespace {

using namespace hone;

constexpr size_t kRows = 64, kCols = 1536;

template <typename Encode>
void measure(benchmark::State& state, tensor::FormatId format, bool weighted, Encode encode) {
  Random random(1);
  std::vector<float> x(kRows * kCols), w(kCols);
  for (float& v : x) v = static_cast<float>(random.normal());
  for (float& v : w) v = weighted ? static_cast<float>(std::exp(random.normal())) : 1.0f;
  std::vector<std::byte> out(kRows * tensor::format_bytes(format, kCols));
  for (auto _ : state) encode(x.data(), w.data(), out.data());
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(x.size()));
}

void by_groups(benchmark::State& state, tensor::FormatId format, Isa isa, bool weighted) {
  const quant::EncodeRows encode = quant::find_group_encoder(format, isa);
  measure(state, format, weighted,
          [&](const float* x, const float* w, std::byte* out) { encode(x, w, kRows, kCols, out); });
}

void by_rows(benchmark::State& state, tensor::FormatId format, Isa isa, bool weighted) {
  const quant::EncodeRow encode = quant::find_encoder(format, isa);
  const uint64_t row_bytes = tensor::format_bytes(format, kCols);
  measure(state, format, weighted, [&](const float* x, const float* w, std::byte* out) {
    for (size_t r = 0; r < kRows; ++r) encode(x + r * kCols, w, kCols, out + r * row_bytes);
  });
}

[[maybe_unused]] const bool kRegistered = [] {
  for (const tensor::QuantFormat& format : tensor::all_formats())
    for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512})
      for (const bool weighted : {false, true}) {
        if (!format.quantized() || !isa_supported(isa) || !quant::find_encoder(format.id, isa)) continue;
        const std::string name = std::string(format.name) + (weighted ? "/weighted/" : "/plain/") + isa_name(isa);
        if (quant::find_group_encoder(format.id, isa))
          benchmark::RegisterBenchmark(("groups/" + name).c_str(), by_groups, format.id, isa, weighted);
        benchmark::RegisterBenchmark(("rows/" + name).c_str(), by_rows, format.id, isa, weighted);
      }
  return true;
}();

}  // namespace
