// Speed of products: bytes of weights per second for single rows, FLOP/s for many, per format. The shapes
// are those of SmolLM2-135M (hidden 576, feed-forward 1536, vocabulary 49152). HONE_ISA picks the kernels,
// HONE_BENCH_THREADS the threads.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "base/random.h"
#include "kernels/attention.h"
#include "kernels/isa_table.h"
#include "kernels/matmul.h"

namespace {

using namespace hone;

ThreadPool& pool() {
  static ThreadPool p(std::getenv("HONE_BENCH_THREADS") ? std::atoi(std::getenv("HONE_BENCH_THREADS")) : 0);
  return p;
}

std::vector<float> normal(size_t n) {
  Random random(n);
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(random.normal());
  return x;
}

// `copies` different matrices are cycled through, so that weights come from memory as they do in a model.
void product(benchmark::State& state, tensor::FormatId id, size_t m, size_t cols, size_t rows,
             size_t copies) {
  const auto& f = tensor::format(id);
  const size_t bytes = tensor::format_bytes(id, rows * cols);
  std::vector<std::byte> weights(bytes * copies);
  const std::vector<float> values = normal(rows * cols), x = normal(m * cols);
  f.encode(values.data(), weights.data(), rows * cols);
  for (size_t c = 1; c < copies; ++c) std::memcpy(weights.data() + c * bytes, weights.data(), bytes);
  std::vector<float> y(m * rows);
  kernels::WeightView w{id, weights.data(), rows, cols};
  std::vector<std::byte> scratch(kernels::matmul_scratch_bytes(w, m, pool().size()) + 64);
  const size_t aligned = 64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64;
  size_t next = 0;
  for (auto _ : state) {
    w.data = weights.data() + next * bytes;
    next = (next + 1) % copies;
    kernels::matmul(w, x.data(), m, y.data(), nullptr, pool(), std::span(scratch).subspan(aligned));
    benchmark::DoNotOptimize(y.data());
  }
  const double runs = static_cast<double>(state.iterations());
  using benchmark::Counter;
  state.counters["GB/s"] = Counter(runs * static_cast<double>(bytes) * 1e-9, Counter::kIsRate);
  state.counters["GFLOP/s"] = Counter(runs * 2e-9 * static_cast<double>(m * rows * cols), Counter::kIsRate);
}

// Plain read of a buffer larger than the caches: the roof of decoding.
void read_bandwidth(benchmark::State& state) {
  const std::vector<uint64_t> data(32 << 20, 1);  // 256 MiB
  for (auto _ : state) {
    uint64_t sum = 0;
    std::vector<uint64_t> sums(static_cast<size_t>(pool().size()) * 8);
    pool().for_range(data.size(), 1 << 16, [&](size_t begin, size_t end, int worker) {
      uint64_t s[8] = {};
      for (size_t i = begin; i < end; i += 8)
        for (size_t j = 0; j < 8; ++j) s[j] += data[i + j];
      sums[static_cast<size_t>(worker) * 8] += s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
    });
    for (const uint64_t s : sums) sum += s;
    benchmark::DoNotOptimize(sum);
  }
  state.counters["GB/s"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * 8e-9 * static_cast<double>(data.size()),
                         benchmark::Counter::kIsRate);
}

// The register tile alone, operands in L1 and L2: the roof of prefill, per core.
void tile_peak(benchmark::State& state) {
  const auto& t = kernels::active_table();
  const size_t k = 576;
  const std::vector<float> x = normal(t.tile_rows * k), b = normal(t.tile_cols * k);
  std::vector<float> c(t.tile_rows * t.tile_cols);
  for (auto _ : state) {
    t.tile(x.data(), t.tile_rows, k, b.data(), t.tile_cols, c.data(), t.tile_cols, t.tile_cols, nullptr,
           false);
    benchmark::DoNotOptimize(c.data());
  }
  state.counters["GFLOP/s"] = benchmark::Counter(
      static_cast<double>(state.iterations()) * 2e-9 * static_cast<double>(t.tile_rows * t.tile_cols * k),
      benchmark::Counter::kIsRate);
}

void region(benchmark::State& state) {
  for (auto _ : state) pool().for_range(static_cast<size_t>(pool().size()), 1, [](size_t, size_t, int) {});
}

// Attention of a model of so many heads and layers; its caches come from memory, as they do in a model.
struct Heads {
  size_t heads, kv_heads, width, layers;
};
constexpr Heads kSmol{9, 3, 64, 30}, kGemma{4, 1, 256, 18};

void attend(benchmark::State& state, Heads h, tensor::FormatId format, size_t queries, size_t past) {
  const size_t capacity = 4608, row = tensor::format_bytes(format, h.width), side = h.kv_heads * capacity * row;
  const size_t layers = queries > 1 ? 1 : h.layers, all = h.heads * h.width;
  std::vector<std::byte> cache(2 * side * layers);
  const std::vector<float> q = normal(queries * all), k = normal(capacity * h.width);
  for (size_t j = 0; j < capacity; ++j)
    kernels::encode_row(format, k.data() + j * h.width, cache.data() + j * row, h.width);
  for (size_t i = 1; i < 2 * h.kv_heads * layers; ++i)
    std::memcpy(cache.data() + i * capacity * row, cache.data(), capacity * row);
  std::vector<float> out(queries * all);
  const int64_t lengths[1] = {static_cast<int64_t>(past)};
  kernels::AttentionArgs a;
  a.batch = 1, a.queries = queries, a.heads = h.heads, a.kv_heads = h.kv_heads;
  a.key_width = a.value_width = h.width;
  a.q = q.data(), a.out = out.data();
  a.q_strides = a.out_strides = {queries * all, h.width, all};
  a.past = lengths, a.fresh = queries, a.scale = 0.125f;
  std::vector<std::byte> scratch(kernels::attention_scratch_bytes(a, pool().size()));
  size_t layer = 0;
  for (auto _ : state) {
    a.keys = {cache.data() + 2 * layer * side, format, 0, capacity * row, row};
    a.values = {a.keys.data + side, format, 0, capacity * row, row};
    layer = (layer + 1) % layers;
    kernels::attention(a, pool(), scratch);
  }
  const double runs = static_cast<double>(state.iterations()), keys = static_cast<double>(past + queries);
  using benchmark::Counter;
  state.counters["GB/s"] =
      Counter(runs * 2e-9 * keys * static_cast<double>(h.kv_heads * row), Counter::kIsRate);
  const double seen = static_cast<double>(queries) * (static_cast<double>(past) + (static_cast<double>(queries) + 1) / 2);
  state.counters["GFLOP/s"] = Counter(runs * 4e-9 * seen * static_cast<double>(all), Counter::kIsRate);
}

}  // namespace

int main(int argc, char** argv) {
  using tensor::FormatId;
  const auto add = [](const std::string& name, auto&&... args) {
    benchmark::RegisterBenchmark(name.c_str(), args...)->UseRealTime()->Unit(benchmark::kMicrosecond);
  };
  add("read_bandwidth", read_bandwidth);
  add("tile_peak", tile_peak);
  add("parallel_region", region);
  for (const auto& f : tensor::all_formats()) {
    if (!kernels::matmul_supports(f.id)) continue;
    const std::string name = f.name;
    const size_t depth = f.block == 256 ? 1536 : 576, rows = f.block == 256 ? 576 : 1536;
    add(name + "/m1", product, f.id, size_t{1}, depth, rows, size_t{64});
    add(name + "/m4", product, f.id, size_t{4}, depth, rows, size_t{64});
    add(name + "/m16", product, f.id, size_t{16}, depth, rows, size_t{64});
    add(name + "/m512", product, f.id, size_t{512}, depth, rows, size_t{1});
  }
  for (const char* name :
       {"INT4_G32_F16_BIAS", "INT4_G64_BF16_BIAS", "INT4_G128_F16_ZERO", "INT4_G64_F32_BIAS",
        "INT2_G64_BF16_BIAS", "INT3_G64_BF16_BIAS", "INT5_G64_BF16_BIAS", "INT6_G64_BF16_BIAS",
        "INT8_G64_BF16_BIAS", "INT8_G128_F16_SYM", "E4M3_G128_F32", "E4M3_G32_E8M0", "E2M1_G16_E4M3",
        "E2M1_G32_E8M0", "NF4_G64_F32"})
    for (const size_t m : {1, 4, 512})
      add(std::string(name) + "/m" + std::to_string(m), product, tensor::find_format(name)->id, m,
          size_t{1536}, size_t{576}, size_t{m > 4 ? 1u : 64u});
  for (const FormatId id : {FormatId::kBF16, FormatId::kQ8_0, FormatId::kQ4_1})
    for (const size_t m : {1, 256})
      add(std::string(tensor::format(id).name) + "/head/m" + std::to_string(m), product, id, m, size_t{576},
          size_t{49152}, size_t{1});
  for (const FormatId id : {FormatId::kF16, FormatId::kQ8_0, FormatId::kF32, FormatId::kBF16, FormatId::kQ5_1,
                            FormatId::kQ4_0}) {
    const std::string name = std::string("attention/") + tensor::format(id).name;
    for (const size_t past : {64, 500, 4096}) {
      add(name + "/decode/past" + std::to_string(past), attend, kSmol, id, size_t{1}, past);
      add(name + "/wide/decode/past" + std::to_string(past), attend, kGemma, id, size_t{1}, past);
    }
    add(name + "/queries4/past500", attend, kSmol, id, size_t{4}, size_t{500});
    add(name + "/queries8/past500", attend, kSmol, id, size_t{8}, size_t{500});
    add(name + "/prefill512", attend, kSmol, id, size_t{512}, size_t{0});
    add(name + "/prefill512/past4096", attend, kSmol, id, size_t{512}, size_t{4096 - 512});
    add(name + "/wide/prefill512", attend, kGemma, id, size_t{512}, size_t{0});
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
