// Attention, by every instruction set that the host has, against the definition in double precision over
// whole score rows.
#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/random.h"
#include "kernels/attention_work.h"

namespace hone::kernels {
namespace {

using tensor::FormatId;

struct Case {
  size_t batch, queries, heads, kv_heads, key_width, value_width;
  std::vector<int64_t> past;
  bool causal = true;
  int64_t window = 0;
  float softcap = 0;
  FormatId keys = FormatId::kF32, values = FormatId::kF32;
  float size = 1;  // of queries
};

std::vector<Isa> isas() {
  std::vector<Isa> list;
  for (const Isa isa : kIsas)
    if (isa_supported(isa)) list.push_back(isa);
  return list;
}

std::vector<float> normal(size_t n, uint64_t seed) {
  Random random(seed);
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(random.normal());
  return x;
}

constexpr size_t kCapacity = 700;

// A problem with its caches [batch, kv_heads, capacity, width] as bytes and as the values that they hold.
struct Problem {
  explicit Problem(const Case& problem) : c(problem) {
    q = normal(c.batch * c.queries * c.heads * c.key_width, 1);
    for (float& x : q) x *= c.size;
    k = normal(c.batch * c.kv_heads * kCapacity * c.key_width, 2);
    v = normal(c.batch * c.kv_heads * kCapacity * c.value_width, 3);
    k_bytes = store(c.keys, k, c.key_width), v_bytes = store(c.values, v, c.value_width);
  }
  static std::vector<std::byte> store(FormatId id, std::vector<float>& x, size_t width) {
    const auto& f = tensor::format(id);
    std::vector<std::byte> bytes(tensor::format_bytes(id, x.size()));
    for (size_t r = 0; r < x.size() / width; ++r)
      encode_row(id, x.data() + r * width, bytes.data() + r * (width / f.block * f.block_bytes), width);
    f.decode(bytes.data(), x.data(), x.size());
    return bytes;
  }

  std::vector<float> run(Isa isa, int threads, bool exact = false) const {
    std::vector<float> out(c.batch * c.queries * c.heads * c.value_width, NAN);
    AttentionArgs a;
    a.batch = c.batch, a.queries = c.queries, a.heads = c.heads, a.kv_heads = c.kv_heads;
    a.key_width = c.key_width, a.value_width = c.value_width;
    a.q = q.data();
    a.q_strides = {c.queries * c.heads * c.key_width, c.key_width, c.heads * c.key_width};
    a.out = out.data();
    a.out_strides = {c.queries * c.heads * c.value_width, c.value_width, c.heads * c.value_width};
    a.past = c.past;
    a.fresh = c.queries;
    a.exact = exact;
    a.scale = kScale, a.softcap = c.softcap, a.causal = c.causal, a.window = c.window;
    ThreadPool pool(threads);
    // Asked for before the formats are known, as a plan does.
    std::vector<std::byte> scratch(attention_scratch_bytes(table_for(isa), a, threads));
    const auto rows = [&](FormatId id, const std::vector<std::byte>& bytes, size_t width) {
      const size_t row = tensor::format_bytes(id, width);
      return RowsView{bytes.data(), id, row * kCapacity * c.kv_heads, row * kCapacity, row};
    };
    a.keys = rows(c.keys, k_bytes, c.key_width);
    a.values = rows(c.values, v_bytes, c.value_width);
    attention_by(table_for(isa), a, pool, scratch);
    return out;
  }

  // Scores of query i of head h, minus infinity where it does not see.
  std::vector<double> scores(size_t b, size_t i, size_t h) const {
    const int64_t position = c.past[b] + static_cast<int64_t>(i),
                  end = c.past[b] + static_cast<int64_t>(c.queries);
    std::vector<double> score(static_cast<size_t>(end), -INFINITY);
    for (int64_t j = 0; j < end; ++j) {
      if (c.causal && j > position) continue;
      if (c.window > 0 && j <= position - c.window) continue;
      double s = 0;
      for (size_t d = 0; d < c.key_width; ++d)
        s += static_cast<double>(q[((b * c.queries + i) * c.heads + h) * c.key_width + d]) *
             k[((b * c.kv_heads + h / group()) * kCapacity + static_cast<size_t>(j)) * c.key_width + d];
      s *= kScale;
      score[static_cast<size_t>(j)] = c.softcap > 0 ? c.softcap * std::tanh(s / c.softcap) : s;
    }
    return score;
  }
  double expected(const std::vector<double>& weights, size_t b, size_t h, size_t d) const {
    double sum = 0;
    for (size_t j = 0; j < weights.size(); ++j)
      if (weights[j] > 0)
        sum += weights[j] * v[((b * c.kv_heads + h / group()) * kCapacity + j) * c.value_width + d];
    return sum;
  }
  size_t group() const { return c.heads / c.kv_heads; }
  size_t at(size_t b, size_t i, size_t h) const {
    return ((b * c.queries + i) * c.heads + h) * c.value_width;
  }

  static constexpr float kScale = 0.3f;
  Case c;
  std::vector<float> q, k, v;
  std::vector<std::byte> k_bytes, v_bytes;
};

// Many rows are multiplied as 16-bit codes unless keys and values are F32 or `exact` asks for more.
void check_by(const Problem& p, Isa isa, int threads, bool exact, double tolerance) {
  const Case& c = p.c;
  const std::vector<float> out = p.run(isa, threads, exact);
  for (size_t b = 0; b < c.batch; ++b)
    for (size_t i = 0; i < c.queries; ++i)
      for (size_t h = 0; h < c.heads; ++h) {
        std::vector<double> weights = p.scores(b, i, h);
        double top = -INFINITY, total = 0;
        for (const double s : weights) top = std::max(top, s);
        for (double& s : weights) total += s = std::exp(s - top);
        for (double& s : weights) s /= total;
        for (size_t d = 0; d < c.value_width; ++d)
          ASSERT_NEAR(out[p.at(b, i, h) + d], p.expected(weights, b, h, d), tolerance)
              << isa_name(isa) << " threads " << threads << " exact " << exact << " batch " << b << " query "
              << i << " head " << h;
      }
}
void check(const Case& c, std::vector<int> threads = {2}, double tolerance = 2e-5) {
  const Problem p(c);
  const bool plain = c.keys == FormatId::kF32 && c.values == FormatId::kF32;
  for (const Isa isa : isas())
    for (const int count : threads) {
      check_by(p, isa, count, true, tolerance);
      const bool codes = c.queries * p.group() > 16;
      if (!plain) check_by(p, isa, count, false, codes ? std::max(6e-3, 50 * tolerance) : tolerance);
    }
}
// The same with an F16 cache and with a Q8_0 one.
Case stored(Case c, FormatId format = FormatId::kF16) {
  c.keys = c.values = format;
  return c;
}

TEST(Attention, Prefill) {
  check({1, 70, 6, 2, 64, 64, {0}}, {1, 2, 3});
  check({2, 130, 3, 1, 32, 48, {0, 0}}, {2});
  check(stored({1, 70, 6, 2, 64, 64, {0}}), {1, 2, 3});
  check(stored({1, 400, 3, 1, 64, 64, {100}}, FormatId::kQ8_0));
}
TEST(Attention, DecodeWithSplitKeys) {
  check({1, 1, 9, 3, 64, 64, {650}}, {1, 2, 3, 8});
  check({1, 1, 2, 1, 64, 64, {650}}, {1, 2, 3, 8});
}
TEST(Attention, DecodeAtEveryShortDepth) {
  for (int64_t past = 0; past < 40; ++past) check({1, 1, 3, 1, 32, 32, {past}}, {1});
}
TEST(Attention, RaggedBatch) {
  check({3, 5, 4, 2, 16, 16, {0, 301, 64}});
  check({3, 1, 4, 2, 64, 64, {0, 301, 64}});
  check({8, 1, 6, 2, 64, 64, {10, 20, 30, 300, 500, 64, 63, 65}}, {1, 2, 3});
}
TEST(Attention, SlidingWindow) {
  check({1, 90, 4, 4, 32, 32, {100}, true, 33});
  check(stored({1, 90, 4, 4, 32, 32, {100}, true, 33}));
  Case wide{2, 60, 4, 1, 256, 256, {500, 40}, true, 256};
  wide.size = 0.25f;  // logits as small as those of narrow heads here
  check(stored(wide));
  check({1, 1, 4, 4, 32, 32, {600}, true, 300});
  check({1, 3, 2, 1, 32, 32, {200}, true, 1});
  check({1, 3, 2, 1, 32, 32, {300}, true, 100});
  check({2, 4, 4, 1, 256, 256, {500, 40}, true, 256});
}
TEST(Attention, NotCausal) {
  check({1, 77, 4, 2, 24, 24, {0}, false});
  check(stored({1, 77, 4, 2, 24, 24, {0}, false}));
  check({1, 3, 4, 2, 24, 24, {0}, false});
}
TEST(Attention, Softcap) {
  check({1, 40, 4, 2, 32, 32, {10}, true, 0, 2.0f});
  check(stored({1, 40, 4, 2, 32, 32, {10}, true, 0, 2.0f}));
  check({1, 1, 4, 2, 32, 32, {300}, true, 0, 2.0f});
  check({1, 1, 4, 2, 32, 32, {300}, true, 0, 50.0f});
  check({1, 1, 4, 2, 32, 32, {300}, true, 0, 30.0f, FormatId::kF32, FormatId::kF32, 100.0f});
}
TEST(Attention, GroupsOfHeads) {
  for (const size_t group : {1, 2, 3, 4, 5, 7, 8, 16})
    for (const size_t queries : {1, 2, 5}) check({1, queries, 2 * group, 2, 64, 64, {150}});
}
TEST(Attention, WidthsOfHeads) {
  for (const size_t width : {4, 8, 16, 20, 40, 72, 80, 96, 112, 128, 192, 256})
    for (const size_t queries : {1, 20}) {
      check({1, queries, 3, 1, width, width, {70}});
      check({1, queries, 3, 1, width, 24, {70}});
      check({1, queries, 3, 1, 36, width, {70}, true, 0, 0, FormatId::kF16, FormatId::kF16});
    }
  check({1, 3, 71, 1, 64, 64, {9}});  // more heads in a group than a block has rows
}
TEST(Attention, CacheFormats) {
  const FormatId formats[] = {FormatId::kF16,  FormatId::kBF16, FormatId::kQ8_0, FormatId::kQ4_0,
                              FormatId::kQ4_1, FormatId::kQ5_0, FormatId::kQ5_1, FormatId::kIQ4_NL};
  for (const FormatId format : formats)
    for (const size_t queries : {1, 4, 33}) {
      check({1, queries, 4, 2, 64, 64, {200}, true, 0, 0, format, format});
      check({1, queries, 3, 1, 96, 160, {77}, true, 0, 0, format, format});
      check({1, queries, 3, 1, 64, 64, {77}, true, 0, 0, format, FormatId::kF16});
      check({1, queries, 3, 1, 64, 64, {77}, true, 0, 0, FormatId::kQ8_0, format});
    }
}
// Logits in the hundreds: one key takes all, or two near ones share.
TEST(Attention, HugeLogits) {
  for (const size_t queries : {1, 4, 40})
    for (const FormatId format : {FormatId::kF32, FormatId::kF16, FormatId::kQ8_0})
      check({1, queries, 3, 1, 64, 64, {300}, true, 0, 0, format, format, 60.0f}, {1, 2}, 2e-3);
}

// A token that is not a number spoils the queries that see its key, and no others.
TEST(Attention, NaNIsSeenOnlyWhereItsKeyIs) {
  for (const size_t queries : {1, 6, 40})
    for (const size_t bad : {100, 301}) {
      Problem p(stored({1, queries, 3, 1, 64, 64, {300}, true, 150}, FormatId::kBF16));
      const uint16_t nan = 0x7FC0;
      std::memcpy(p.k_bytes.data() + (bad * 64 + 5) * sizeof nan, &nan, sizeof nan);
      for (const Isa isa : isas())
        for (const int threads : {1, 2}) {
          const std::vector<float> out = p.run(isa, threads);
          for (size_t i = 0; i < queries; ++i) {
            const size_t position = 300 + i;
            const bool sees = bad <= position && bad + 150 > position;
            for (size_t h = 0; h < 3; ++h)
              for (size_t d = 0; d < 64; ++d)
                ASSERT_EQ(std::isnan(out[p.at(0, i, h) + d]), sees)
                    << isa_name(isa) << " query " << i << " of " << queries << " key " << bad;
          }
        }
    }
}

}  // namespace
}  // namespace hone::kernels
