// A small decoder with caches on the CPU device: chunked runs equal one run, cache formats, ragged batches,
// truncation, stored weight formats, and a steady state that allocates nothing.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <new>

#include "backends/cpu/cpu_device.h"
#include "base/error.h"
#include "base/random.h"
#include "exec/plan.h"

namespace {
std::atomic<bool> counting{false};
std::atomic<int> allocations{0};
void* counted(size_t size) {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(size ? size : 1)) return p;
  throw std::bad_alloc();
}
}  // namespace
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return std::malloc(size ? size : 1);
}
void* operator new(size_t size) {
  return counted(size);
}
void* operator new[](size_t size) {
  return counted(size);
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete[](void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, size_t) noexcept {
  std::free(p);
}
void operator delete[](void* p, size_t) noexcept {
  std::free(p);
}

namespace hone::backends {
namespace {

constexpr int64_t kHidden = 64, kHeads = 4, kKvHeads = 2, kWidth = 32, kFeed = 96, kVocab = 101, kLayers = 2;

std::vector<float> normal(size_t n, uint64_t seed, float scale) {
  Random random(seed);
  std::vector<float> x(n);
  for (float& v : x) v = scale * static_cast<float>(random.normal());
  return x;
}

// A weight [out, in] in the given format, as linear layers are stored.
ir::ValueId weight(ir::Graph& g, const std::string& name, int64_t out, int64_t in, tensor::FormatId format,
                   uint64_t seed) {
  const std::vector<float> values =
      normal(static_cast<size_t>(out * in), seed, 1.0f / std::sqrt(static_cast<float>(in)));
  auto bytes = std::make_shared<std::vector<std::byte>>(tensor::format_bytes(format, values.size()));
  tensor::format(format).encode(values.data(), bytes->data(), values.size());
  ir::Constant c;
  c.format = format;
  c.transposed = true;
  c.bytes = *bytes;
  c.owner = bytes;
  return g.add_constant(name, tensor::DType::kF32, {in, out}, std::move(c));
}

ir::Graph decoder(tensor::FormatId format = tensor::FormatId::kF32, int64_t window = 0) {
  ir::Graph g("decoder");
  const auto sym = [&](const char* name) { return ir::Dim::sym(g.symbol(name)); };
  const ir::Dim batch = sym("batch"), sequence = sym("sequence"), past = sym("past");
  const auto ids = g.add_input("input_ids", tensor::DType::kI64, {batch, sequence});
  const auto positions = g.add_input("position_ids", tensor::DType::kI64, {batch, sequence});
  const auto table = g.add_constant("embed", tensor::DType::kF32, {kVocab, kHidden},
                                    ir::constant_of_floats(normal(kVocab * kHidden, 1, 1)));
  const auto ones =
      g.add_constant("norm", tensor::DType::kF32, {kHidden}, ir::constant_of_floats(normal(kHidden, 2, 1)));
  std::vector<float> cosine, sine;
  for (int p = 0; p < 64; ++p)
    for (int i = 0; i < kWidth / 2; ++i) {
      const double angle = p * std::pow(10000.0, -2.0 * i / kWidth);
      cosine.push_back(static_cast<float>(std::cos(angle)));
      sine.push_back(static_cast<float>(std::sin(angle)));
    }
  const auto cos_table =
      g.add_constant("cos", tensor::DType::kF32, {64, kWidth / 2}, ir::constant_of_floats(cosine));
  const auto sin_table =
      g.add_constant("sin", tensor::DType::kF32, {64, kWidth / 2}, ir::constant_of_floats(sine));
  auto x = g.add("Gather", "embedding", {table, ids});
  for (int64_t l = 0; l < kLayers; ++l) {
    const std::string n = std::to_string(l) + ".";
    const auto h = g.add("RMSNormalization", n + "norm1", {x, ones});
    const auto q =
        g.add("MatMul", n + "q", {h, weight(g, n + "wq", kHeads * kWidth, kHidden, format, 10 + l)});
    const auto k =
        g.add("MatMul", n + "k", {h, weight(g, n + "wk", kKvHeads * kWidth, kHidden, format, 20 + l)});
    const auto v =
        g.add("MatMul", n + "v", {h, weight(g, n + "wv", kKvHeads * kWidth, kHidden, format, 30 + l)});
    const auto rq =
        g.add("RotaryEmbedding", n + "rq", {q, cos_table, sin_table, positions}, {{"num_heads", kHeads}});
    const auto rk =
        g.add("RotaryEmbedding", n + "rk", {k, cos_table, sin_table, positions}, {{"num_heads", kKvHeads}});
    const ir::Shape cache{batch, ir::Dim::of(kKvHeads), past, ir::Dim::of(kWidth)};
    const auto pk = g.add_input(n + "past_key", tensor::DType::kF32, cache),
               pv = g.add_input(n + "past_value", tensor::DType::kF32, cache);
    const auto a = g.add_node("Attention", n + "attention", {rq, rk, v, ir::kNoValue, pk, pv},
                              {{"q_num_heads", kHeads},
                               {"kv_num_heads", kKvHeads},
                               {"is_causal", int64_t{1}},
                               {"sliding_window", window}});
    g.add_state(n + "key", pk, a[1], 2);
    g.add_state(n + "value", pv, a[2], 2);
    x = g.add(
        "Add", n + "sum1",
        {x, g.add("MatMul", n + "o", {a[0], weight(g, n + "wo", kHidden, kHeads * kWidth, format, 40 + l)})});
    const auto f = g.add("RMSNormalization", n + "norm2", {x, ones});
    const auto gate =
        g.add("Swish", n + "act",
              {g.add("MatMul", n + "gate", {f, weight(g, n + "wg", kFeed, kHidden, format, 50 + l)})});
    const auto up = g.add("MatMul", n + "up", {f, weight(g, n + "wu", kFeed, kHidden, format, 60 + l)});
    const auto down =
        g.add("MatMul", n + "down",
              {g.add("Mul", n + "mul", {gate, up}), weight(g, n + "wd", kHidden, kFeed, format, 70 + l)});
    x = g.add("Add", n + "sum2", {x, down});
  }
  g.add_output(g.add("MatMul", "logits", {x, weight(g, "head", kVocab, kHidden, format, 5)}));
  return g;
}

struct Runner {
  std::unique_ptr<exec::Device> device;
  std::unique_ptr<exec::Plan> plan;
  exec::StateSet states;
  std::vector<int64_t> positions;

  Runner(ir::Graph graph, int threads, tensor::FormatId cache = tensor::FormatId::kF32, int64_t batch = 1, bool exact = false,
         bool grouped = true)
      : device(make_cpu_device({.threads = threads, .exact = exact, .grouped = grouped})) {
    exec::PlanLimits limits;
    limits.batch = batch, limits.sequence = 40, limits.context = 60, limits.state_format = cache;
    plan = exec::Plan::compile(std::move(graph), *device, limits);
    states = plan->make_states();
    positions.reserve(1024);
  }
  // ids [batch, n]; logits [batch, n, vocab].
  std::span<const float> step(std::span<const int64_t> ids, int64_t batch = 1) {
    const int64_t n = static_cast<int64_t>(ids.size()) / batch;
    positions.clear();
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t i = 0; i < n; ++i) positions.push_back(states.lengths()[static_cast<size_t>(b)] + i);
    inputs_[0].view.shape = inputs_[1].view.shape = {batch, n};
    inputs_[0].view.bytes = std::as_bytes(ids);
    inputs_[1].view.bytes = std::as_bytes(std::span(positions));
    plan->run(inputs_, &states);
    return {plan->output(0).f32(), static_cast<size_t>(batch * n * kVocab)};
  }

 private:
  exec::Input inputs_[2] = {{"input_ids", {tensor::FormatId::kI64, {}, {}}},
                            {"position_ids", {tensor::FormatId::kI64, {}, {}}}};
};

std::vector<int64_t> some_ids(size_t n, int64_t seed = 3) {
  std::vector<int64_t> ids(n);
  for (size_t i = 0; i < n; ++i) ids[i] = (static_cast<int64_t>(i) * 37 + seed * 11) % kVocab;
  return ids;
}

void expect_near(std::span<const float> a, std::span<const float> b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - b[i]));
  EXPECT_LE(worst, tolerance);
}

TEST(Decoder, ChunksOfAnySizeGiveTheLogitsOfOneRun) {
  const std::vector<int64_t> ids = some_ids(33);
  Runner whole(decoder(), 1);
  const auto all = whole.step(ids);
  const std::vector<float> expected(all.begin(), all.end());
  for (const int threads : {1, 2, 3}) {
    for (const size_t chunk : {1, 3, 9, 20}) {
      Runner r(decoder(), threads);
      for (size_t at = 0; at < ids.size(); at += chunk) {
        const size_t n = std::min(chunk, ids.size() - at);
        const auto logits = r.step(std::span(ids).subspan(at, n));
        expect_near(logits, std::span(expected).subspan(at * kVocab, n * kVocab), 3e-5);
      }
    }
  }
}

TEST(Decoder, SlidingWindowForgetsFarTokens) {
  std::vector<int64_t> ids = some_ids(30);
  Runner a(decoder(tensor::FormatId::kF32, 4), 2);
  const auto first = a.step(ids);
  const std::vector<float> before(first.end() - kVocab, first.end());
  for (size_t i = 0; i < 22; ++i)
    ids[i] = 100 - ids[i];  // out of reach: 2 layers of 3 tokens back from the last
  Runner b(decoder(tensor::FormatId::kF32, 4), 2);
  expect_near(b.step(ids).last(kVocab), before, 1e-6);
  ids[28] = 100 - ids[28];
  Runner c(decoder(tensor::FormatId::kF32, 4), 2);
  EXPECT_GT(std::fabs(c.step(ids).last(kVocab)[0] - before[0]), 1e-4);
}

TEST(Decoder, CacheFormatsStayClose) {
  const std::vector<int64_t> ids = some_ids(24);
  Runner exact(decoder(), 2);
  const auto all = exact.step(ids);
  const std::vector<float> expected(all.begin(), all.end());
  const std::pair<tensor::FormatId, double> cases[] = {
      {tensor::FormatId::kF16, 0.02}, {tensor::FormatId::kBF16, 0.12}, {tensor::FormatId::kQ8_0, 0.12}};
  for (const auto& [format, tolerance] : cases) {
    Runner r(decoder(), 2, format);
    EXPECT_LT(r.states.bytes(), exact.states.bytes());
    for (size_t i = 0; i < ids.size(); ++i)
      expect_near(r.step(std::span(ids).subspan(i, 1)), std::span(expected).subspan(i * kVocab, kVocab),
                  tolerance);
  }
}

TEST(Decoder, TruncatedStateContinuesAsIfTheRestWasNeverSeen) {
  const std::vector<int64_t> ids = some_ids(20), other = some_ids(8, 9);
  Runner a(decoder(), 2), b(decoder(), 2);
  a.step(std::span(ids).first(12));
  a.step(other);
  a.states.truncate(0, 12);
  const auto got = a.step(std::span(ids).subspan(12));
  const std::vector<float> kept(got.begin(), got.end());
  b.step(std::span(ids).first(12));
  expect_near(b.step(std::span(ids).subspan(12)), kept, 0);
  EXPECT_THROW(a.states.truncate(0, 21), Error);
  EXPECT_THROW(a.states.truncate(1, 0), Error);
  a.states.reset();
  EXPECT_EQ(a.states.lengths()[0], 0);
}

TEST(Decoder, BatchRowsOfDifferentLengthsDoNotMix) {
  const std::vector<int64_t> first = some_ids(14), second = some_ids(14, 5), next{7, 90};
  Runner together(decoder(), 2, tensor::FormatId::kF32, 2);
  std::vector<int64_t> both = first;
  both.insert(both.end(), second.begin(), second.end());
  together.step(both, 2);
  together.states.truncate(1, 6);  // the second row is a shorter prompt
  const auto got = together.step(next, 2);
  const std::vector<float> logits(got.begin(), got.end());
  Runner alone(decoder(), 1);
  alone.step(first);
  expect_near(alone.step(std::span(next).first(1)), std::span(logits).first(kVocab), 3e-5);
  Runner shorter(decoder(), 1);
  shorter.step(std::span(second).first(6));
  expect_near(shorter.step(std::span(next).last(1)), std::span(logits).last(kVocab), 3e-5);
}

TEST(Decoder, StoredFormatsEqualTheirDecodedWeights) {
  const std::vector<int64_t> ids = some_ids(18);
  for (const auto format : {tensor::FormatId::kBF16, tensor::FormatId::kQ8_0, tensor::FormatId::kQ4_1,
                            tensor::FormatId::kIQ4_NL}) {
    Runner stored(decoder(format), 2), decoded(decoder(format), 2);
    Runner exact(decoder(format), 2, tensor::FormatId::kF32, 1, true);
    std::vector<std::vector<float>> keep;
    for (size_t v = 0; v < decoded.plan->graph().values().size();
         ++v) {  // the same numbers as F32, through rebind
      const auto id = static_cast<ir::ValueId>(v);
      const ir::Constant* c = decoded.plan->graph().constant_of(id);
      if (!c || !c->transposed) continue;
      const auto& shape = decoded.plan->graph().value(id).shape;
      keep.emplace_back(static_cast<size_t>(shape[0].size * shape[1].size));
      tensor::format(format).decode(c->bytes.data(), keep.back().data(), keep.back().size());
      decoded.plan->rebind(id, tensor::FormatId::kF32, std::as_bytes(std::span(keep.back())));
    }
    EXPECT_EQ(keep.size(), 15u);
    const auto a = stored.step(ids);
    const std::vector<float> prefill(a.begin(), a.end());
    // Prompts meet 4-bit formats as 8-bit codes of activations and finer ones as 16-bit codes, single rows all as
    // 16-bit codes (and as keys and values of the prompt), unless the device is to be exact.
    const bool fine = format == tensor::FormatId::kBF16 || format == tensor::FormatId::kQ8_0;
    const double rounding = fine ? 5e-3 : 0.02;
    expect_near(decoded.step(ids), prefill, fine ? 5e-3 : 0.15);
    expect_near({decoded.plan->output(0).f32(), prefill.size()}, exact.step(ids), 1e-5);
    const std::vector<int64_t> one{42};
    const auto b = stored.step(one);
    const std::vector<float> decode(b.begin(), b.end());
    expect_near(decoded.step(one), decode, rounding);
  }
}

TEST(Decoder, GroupedStepsEqualNodeByNode) {
  const std::vector<int64_t> ids = some_ids(33);
  for (const auto format : {tensor::FormatId::kF32, tensor::FormatId::kBF16, tensor::FormatId::kQ4_1}) {
    for (const size_t chunk : {1, 2, 8, 20}) {
      Runner grouped(decoder(format), 2);
      Runner plain(decoder(format), 2, tensor::FormatId::kF32, 1, false, false);
      EXPECT_LT(grouped.plan->steps(), plain.plan->steps());
      for (size_t at = 0; at < ids.size(); at += chunk) {
        const auto part = std::span(ids).subspan(at, std::min(chunk, ids.size() - at));
        const auto logits = plain.step(part);
        expect_near(grouped.step(part), logits, format == tensor::FormatId::kQ4_1 ? 2e-3 : 1e-5);
      }
    }
  }
}

TEST(Decoder, SteadyStateAllocatesNothing) {
  for (const int threads : {1, 2}) {
    for (const auto cache : {tensor::FormatId::kF16, tensor::FormatId::kQ8_0}) {
      Runner r(decoder(tensor::FormatId::kQ4_1), threads, cache);
      r.step(some_ids(9));
      const std::vector<int64_t> one{5};
      r.step(one);
      allocations = 0;
      counting = true;
      for (int i = 0; i < 20; ++i) r.step(one);
      counting = false;
      EXPECT_EQ(allocations.load(), 0) << threads << " threads";
    }
  }
}

TEST(Decoder, RefusesWhatDoesNotFit) {
  Runner r(decoder(), 1);
  r.step(some_ids(40));
  EXPECT_THROW(r.step(some_ids(21)), Error);                  // 61 of 60
  EXPECT_THROW(r.step(some_ids(41)), Error);                  // over the sequence limit
  EXPECT_THROW(r.step(std::vector<int64_t>{kVocab}), Error);  // no such id
  EXPECT_EQ(r.states.lengths()[0], 40);
  r.step(some_ids(20));
  exec::PlanLimits limits;
  limits.state_format = tensor::FormatId::kQ4_0;
  EXPECT_THROW(exec::Plan::compile(decoder(), *r.device, limits), Error);
}

}  // namespace
}  // namespace hone::backends
