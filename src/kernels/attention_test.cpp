// Attention against the definition, computed in double precision over whole score rows.
#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/random.h"

namespace hone::kernels {
namespace {

struct Case {
  size_t batch, queries, heads, kv_heads, key_width, value_width;
  std::vector<int64_t> past;
  bool causal = true;
  int64_t window = 0;
  float softcap = 0;
  tensor::FormatId format = tensor::FormatId::kF32;
};

std::vector<float> normal(size_t n, uint64_t seed) {
  Random random(seed);
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(random.normal());
  return x;
}

// Caches [batch, kv_heads, capacity, width].
void check(const Case& c, int threads) {
  const size_t capacity = 700, group = c.heads / c.kv_heads;
  const std::vector<float> q = normal(c.batch * c.queries * c.heads * c.key_width, 1);
  std::vector<float> k = normal(c.batch * c.kv_heads * capacity * c.key_width, 2);
  std::vector<float> v = normal(c.batch * c.kv_heads * capacity * c.value_width, 3);
  const auto store = [&](std::vector<float>& x,
                         size_t width) {  // in the cache format; x becomes what is stored
    const auto& f = tensor::format(c.format);
    std::vector<std::byte> bytes(tensor::format_bytes(c.format, x.size()));
    for (size_t r = 0; r < x.size() / width; ++r)
      encode_row(c.format, x.data() + r * width, bytes.data() + r * (width / f.block * f.block_bytes), width);
    f.decode(bytes.data(), x.data(), x.size());
    return bytes;
  };
  const std::vector<std::byte> k_bytes = store(k, c.key_width), v_bytes = store(v, c.value_width);
  std::vector<float> out(c.batch * c.queries * c.heads * c.value_width, NAN);

  AttentionArgs a;
  a.batch = c.batch, a.queries = c.queries, a.heads = c.heads, a.kv_heads = c.kv_heads;
  a.key_width = c.key_width, a.value_width = c.value_width;
  a.q = q.data();
  a.q_strides = {c.queries * c.heads * c.key_width, c.key_width, c.heads * c.key_width};
  a.out = out.data();
  a.out_strides = {c.queries * c.heads * c.value_width, c.value_width, c.heads * c.value_width};
  const auto rows = [&](const std::vector<std::byte>& bytes, size_t width) {
    const size_t row = tensor::format_bytes(c.format, width);
    return RowsView{bytes.data(), c.format, row * capacity * c.kv_heads, row * capacity, row};
  };
  a.keys = rows(k_bytes, c.key_width);
  a.values = rows(v_bytes, c.value_width);
  a.past = c.past;
  a.fresh = c.queries;
  a.scale = 0.3f, a.softcap = c.softcap, a.causal = c.causal, a.window = c.window;
  ThreadPool pool(threads);
  std::vector<std::byte> scratch(attention_scratch_bytes(a, threads));
  attention(a, pool, scratch);

  for (size_t b = 0; b < c.batch; ++b)
    for (size_t i = 0; i < c.queries; ++i)
      for (size_t h = 0; h < c.heads; ++h) {
        const int64_t position = c.past[b] + static_cast<int64_t>(i),
                      end = c.past[b] + static_cast<int64_t>(c.queries);
        std::vector<double> score(static_cast<size_t>(end), -INFINITY);
        double top = -INFINITY, total = 0;
        for (int64_t j = 0; j < end; ++j) {
          if (c.causal && j > position) continue;
          if (c.window > 0 && j <= position - c.window) continue;
          double s = 0;
          for (size_t d = 0; d < c.key_width; ++d)
            s += static_cast<double>(q[((b * c.queries + i) * c.heads + h) * c.key_width + d]) *
                 k[((b * c.kv_heads + h / group) * capacity + static_cast<size_t>(j)) * c.key_width + d];
          s *= 0.3f;
          if (c.softcap > 0) s = c.softcap * std::tanh(s / c.softcap);
          score[static_cast<size_t>(j)] = s;
          top = std::max(top, s);
        }
        for (double& s : score) total += s = std::exp(s - top);
        for (size_t d = 0; d < c.value_width; ++d) {
          double expected = 0;
          for (size_t j = 0; j < score.size(); ++j)
            expected +=
                score[j] / total * v[((b * c.kv_heads + h / group) * capacity + j) * c.value_width + d];
          ASSERT_NEAR(out[((b * c.queries + i) * c.heads + h) * c.value_width + d], expected, 2e-5)
              << "batch " << b << " query " << i << " head " << h << " threads " << threads;
        }
      }
}

TEST(Attention, Prefill) {
  for (const int threads : {1, 2, 3}) {
    check({1, 70, 6, 2, 64, 64, {0}}, threads);
    check({2, 130, 3, 1, 32, 48, {0, 0}}, threads);
  }
}
TEST(Attention, DecodeWithSplitKeys) {
  for (const int threads : {1, 2, 3}) check({1, 1, 9, 3, 64, 64, {650}}, threads);
}
TEST(Attention, RaggedBatch) {
  check({3, 5, 4, 2, 16, 16, {0, 301, 64}}, 2);
}
TEST(Attention, SlidingWindow) {
  check({1, 90, 4, 4, 32, 32, {100}, true, 33}, 2);
  check({1, 1, 4, 4, 32, 32, {600}, true, 300}, 2);
  check({1, 3, 2, 1, 32, 32, {200}, true, 1}, 1);
}
TEST(Attention, NotCausal) {
  check({1, 77, 4, 2, 24, 24, {0}, false}, 2);
}
TEST(Attention, Softcap) {
  check({1, 40, 4, 2, 32, 32, {10}, true, 0, 2.0f}, 2);
}
TEST(Attention, TinyAndWideHeads) {
  check({1, 9, 8, 4, 8, 8, {3}}, 1);  // stories260K
  check({1, 20, 2, 2, 256, 256, {70}}, 2);
  check({1, 3, 71, 1, 64, 64, {9}}, 2);  // more heads in a group than a block has rows
}
TEST(Attention, CacheFormats) {
  for (const auto format : {tensor::FormatId::kF16, tensor::FormatId::kBF16, tensor::FormatId::kQ8_0}) {
    Case c{1, 33, 4, 2, 64, 64, {200}};
    c.format = format;
    check(c, 2);
  }
}

}  // namespace
}  // namespace hone::kernels
