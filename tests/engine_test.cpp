// Sessions, scoring and statistics on the CPU backend with stories260K, a small trained model: what the unit tests of generate
// and evaluate cannot see without a device.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "backends/cpu/cpu_device.h"
#include "base/cancel.h"
#include "base/error.h"
#include "evaluate/divergence.h"
#include "evaluate/importance.h"
#include "evaluate/self_text.h"
#include "evaluate/speed.h"
#include "generate/chat.h"

namespace hone {
namespace {

using evaluate::Scorer;
using generate::LanguageModel;
using generate::SessionOptions;
using text::TokenId;

const std::filesystem::path kPath = std::filesystem::path(HONE_SOURCE_DIR) / "tests/data/models/stories260K";
constexpr const char* kStory =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. "
    "She wanted to play with it, but it was too high.\nLily's mom said, \"Lily, let";

double largest_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) worst = std::max(worst, std::abs(double{a[i]} - double{b[i]}));
  return worst;
}

template <typename Call>
ErrorKind kind_of(Call call) {
  try {
    call();
  } catch (const Error& e) {
    return e.kind();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorKind::kUsage;
}

class Engine : public testing::Test {
 protected:
  Engine() : model(models::open_model(kPath)), device(backends::make_cpu_device(2)), tokenizer(models::load_tokenizer(*model.checkpoint)) {}
  std::vector<TokenId> story() const { return tokenizer->encode(kStory); }
  LanguageModel session(SessionOptions options = {}) {
    options.cache_format = tensor::FormatId::kF32;
    return LanguageModel(model, *device, options);
  }
  models::Model model;
  std::unique_ptr<exec::Device> device;
  std::unique_ptr<text::Tokenizer> tokenizer;
};

// The reference implementation's greedy text from the start token (golden.json of the model).
TEST_F(Engine, TellsTheStoryFromItsStartToken) {
  auto lm = session();
  generate::GenerateOptions o;
  o.sampling.temperature = 0;
  o.max_tokens = 90;
  std::string streamed;
  const auto r = generate::generate(lm, *tokenizer, std::vector<TokenId>{*tokenizer->bos}, o, [&](std::string_view piece) {
    streamed += piece;
    return true;
  });
  EXPECT_EQ(streamed, r.text);
  EXPECT_EQ(r.text.substr(0, std::string(kStory).size()), kStory);
  EXPECT_EQ(r.reason, generate::StopReason::kMaxTokens);
}

TEST_F(Engine, StopStringEndsTheStory) {
  auto lm = session();
  generate::GenerateOptions o;
  o.sampling.temperature = 0;
  o.stop = {" red ball"};
  const auto r = generate::generate(lm, *tokenizer, std::vector<TokenId>{*tokenizer->bos}, o);
  EXPECT_EQ(r.text, "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big,");
  EXPECT_EQ(r.reason, generate::StopReason::kStopString);
}

TEST_F(Engine, ChunksOfAPromptGiveTheSameLogits) {
  const auto ids = story();
  ASSERT_GT(ids.size(), 60u);
  auto whole = session(), chunked = session({.chunk = 7});
  const auto a = whole.feed(ids);
  const std::vector<float> expected(a.begin(), a.end());
  EXPECT_LT(largest_difference(expected, chunked.feed(ids)), 1e-4);
  EXPECT_EQ(chunked.position(), static_cast<int64_t>(ids.size()));
  EXPECT_EQ(chunked.tokens(), ids);
}

TEST_F(Engine, TruncateForgets) {
  const auto ids = story();
  auto lm = session();
  const auto first = lm.feed(std::span(ids).first(30));
  const std::vector<float> expected(first.begin(), first.end());
  lm.feed(std::span(ids).subspan(30));
  lm.truncate(20);
  EXPECT_EQ(lm.position(), 20);
  EXPECT_LT(largest_difference(expected, lm.feed(std::span(ids).subspan(20, 10))), 1e-4);
  lm.reset();
  EXPECT_EQ(lm.position(), 0);
}

TEST_F(Engine, RowsOfABatchAreIndependent) {
  const auto ids = story();
  auto batch = session({.batch = 3});
  std::span<const float> logits;
  for (size_t t = 0; t < 12; ++t) logits = batch.feed_batch(std::vector<TokenId>{ids[t], ids[t + 5], ids[t + 9]});
  const auto vocab = static_cast<size_t>(batch.vocab_size());
  for (const size_t row : {0u, 1u, 2u}) {
    auto single = session();
    const size_t offset = std::vector<size_t>{0, 5, 9}[row];
    EXPECT_LT(largest_difference(logits.subspan(row * vocab, vocab), single.feed(std::span(ids).subspan(offset, 12))), 1e-4) << row;
  }
  // A row that starts over does not disturb the others.
  batch.truncate(0, 1);
  logits = batch.feed_batch(std::vector<TokenId>{ids[12], ids[0], ids[21]});
  EXPECT_EQ(batch.position(1), 1);
  auto fresh = session(), long_row = session();
  EXPECT_LT(largest_difference(logits.subspan(vocab, vocab), fresh.feed(std::span(ids).first(1))), 1e-4);
  EXPECT_LT(largest_difference(logits.first(vocab), long_row.feed(std::span(ids).first(13))), 1e-4);
}

TEST_F(Engine, SameSeedSameText) {
  const auto tell = [&](uint64_t seed) {
    auto lm = session();
    generate::GenerateOptions o;
    o.sampling.seed = seed;
    o.sampling.temperature = 1.2f;
    o.max_tokens = 60;
    return generate::generate(lm, *tokenizer, std::vector<TokenId>{*tokenizer->bos}, o).text;
  };
  EXPECT_EQ(tell(1), tell(1));
  EXPECT_NE(tell(1), tell(2));
}

TEST_F(Engine, LimitsAreNamed) {
  EXPECT_EQ(kind_of([&] { session({.context = 100000}); }), ErrorKind::kUsage);
  auto lm = session({.context = 16});
  EXPECT_EQ(kind_of([&] { lm.feed(story()); }), ErrorKind::kBadInput);
  EXPECT_EQ(kind_of([&] { lm.feed(std::vector<TokenId>{1, 512}); }), ErrorKind::kBadInput);
  EXPECT_EQ(kind_of([&] { lm.feed(std::vector<TokenId>{-1}); }), ErrorKind::kBadInput);
  EXPECT_EQ(lm.position(), 0);
  EXPECT_EQ(kind_of([&] { Scorer(model, *device, 1000); }), ErrorKind::kUsage);
}

TEST_F(Engine, CancelBetweenChunksKeepsWhatWasRead) {
  auto lm = session({.chunk = 8});
  request_cancel();
  EXPECT_EQ(kind_of([&] { lm.feed(story()); }), ErrorKind::kCancelled);
  clear_cancel();
  EXPECT_EQ(lm.position(), 8);
}

TEST_F(Engine, PlainChatContinuesTheText) {
  auto lm = session();
  generate::Chat chat(lm, *tokenizer, "");
  generate::GenerateOptions o;
  o.sampling.temperature = 0;
  o.max_tokens = 12;
  const auto r = chat.send("Once upon a time, there was a little girl named", o);
  EXPECT_EQ(r.text.substr(0, 6), " Lily.");
}

TEST_F(Engine, ScorerGivesTheLogitsOfTheSession) {
  const auto ids = story();
  Scorer scorer(model, *device, 64);
  const auto window = std::span(ids).first(50);
  const auto logits = scorer.logits(window, 20, 30);
  const auto vocab = static_cast<size_t>(scorer.vocab_size());
  for (const size_t at : {20u, 33u, 49u}) {
    auto lm = session();
    EXPECT_LT(largest_difference(logits.subspan((at - 20) * vocab, vocab), lm.feed(window.first(at + 1))), 1e-4) << at;
  }
}

std::vector<std::vector<TokenId>> windows_of(const std::vector<TokenId>& ids, size_t length) {
  std::vector<std::vector<TokenId>> windows;
  for (size_t at = 0; at + length <= ids.size(); at += length) {
    windows.emplace_back(ids.begin() + static_cast<std::ptrdiff_t>(at), ids.begin() + static_cast<std::ptrdiff_t>(at + length));
  }
  return windows;
}

// Swaps the weights of one layer for their Q4_0 version.
std::vector<std::byte> disturb(exec::Plan& plan, const std::string& source) {
  for (size_t v = 0; v < plan.graph().values().size(); ++v) {
    const auto id = static_cast<ir::ValueId>(v);
    const ir::Constant* c = plan.graph().constant_of(id);
    if (!c || c->source != source) continue;
    const auto& f32 = tensor::format(c->format);
    const auto n = c->bytes.size() / f32.block_bytes * f32.block;
    std::vector<float> values(n);
    f32.decode(c->bytes.data(), values.data(), n);
    std::vector<std::byte> bytes(tensor::format_bytes(tensor::FormatId::kQ4_0, n));
    tensor::format(tensor::FormatId::kQ4_0).encode(values.data(), bytes.data(), n);
    plan.rebind(id, tensor::FormatId::kQ4_0, bytes);
    return bytes;
  }
  ADD_FAILURE() << source << " is not in the graph";
  return {};
}

TEST_F(Engine, DivergenceFromItselfIsZero) {
  Scorer a(model, *device, 32), b(model, *device, 32);
  const auto windows = windows_of(story(), 32);
  const auto r = evaluate::evaluate(a, &b, windows, 0, device->pool());
  EXPECT_EQ(r.tokens, static_cast<int64_t>(windows.size()) * 15);  // positions 16 to 30 predict 17 to 31
  EXPECT_EQ(r.kl_max.value, 0);
  EXPECT_EQ(r.same_top1.value, 1);
  EXPECT_EQ(r.perplexity.value, r.reference_perplexity.value);
  EXPECT_GT(r.perplexity.value, 1);
  EXPECT_LT(r.perplexity.value, 2);  // its own greedy text
}

TEST_F(Engine, StoredReferenceGivesTheSameDivergence) {
  // As `hone evaluate` measures: slices of few rows would else meet BF16 in another arithmetic than whole windows.
  const auto exact = backends::make_cpu_device({.threads = 2, .exact = true});
  Scorer reference(model, *exact, 40), changed(model, *exact, 40), sliced(model, *exact, 40, {}, 7);
  const std::string source = "model.layers.2.self_attn.q_proj.weight";
  const auto kept = disturb(changed.plan(), source), kept_too = disturb(sliced.plan(), source);
  const auto windows = windows_of(story(), 40);
  const evaluate::ReferenceLogits stored(reference, windows, 10);
  EXPECT_EQ(stored.positions(), static_cast<int64_t>(windows.size()) * 30);

  double sum = 0;
  for (const auto& w : windows) {
    const auto p = reference.logits(w, 10, 30), q = changed.logits(w, 10, 30);
    for (size_t r = 0; r < 30; ++r) sum += evaluate::kl_divergence(p.subspan(r * 512, 512), q.subspan(r * 512, 512));
  }
  const double expected = sum / static_cast<double>(stored.positions());
  EXPECT_GT(expected, 1e-5);
  EXPECT_NEAR(stored.mean_kl(changed, device->pool()), expected, 1e-6 + 1e-5 * expected);
  EXPECT_NEAR(stored.mean_kl(sliced, device->pool()), expected, 1e-6 + 1e-5 * expected);
  EXPECT_NEAR(stored.mean_kl(reference, device->pool()), 0, 1e-6);

  // Slices of rows do not change the streamed evaluation either.
  const auto one = evaluate::evaluate(changed, &reference, windows, 0, device->pool());
  const auto many = evaluate::evaluate(sliced, &reference, windows, 0, device->pool());
  EXPECT_NEAR(one.kl_mean.value, many.kl_mean.value, 1e-9 + 1e-5 * one.kl_mean.value);
  EXPECT_GT(one.kl_mean.value, 0);
  EXPECT_GE(one.kl_max.value, one.kl_999.value);
  EXPECT_GE(one.kl_99.value, one.kl_median.value);
}

// The input of the first layer's projections by hand: the embedding, RMS-normalised (Zhang & Sennrich 2019).
TEST_F(Engine, ImportancesOfTheFirstLayerByHand) {
  const auto windows = windows_of(story(), 32);
  const auto found = evaluate::collect_importances(model, *device, windows);
  const auto embedding = tensor::decode(model.checkpoint->find("model.embed_tokens.weight")->view);
  const auto scale = tensor::decode(model.checkpoint->find("model.layers.0.input_layernorm.weight")->view);
  constexpr size_t kWidth = 64;
  std::vector<double> expected(kWidth);
  double rows = 0;
  for (const auto& w : windows) {
    for (const TokenId id : w) {
      const float* x = &embedding[static_cast<size_t>(id) * kWidth];
      double squares = 0;
      for (size_t i = 0; i < kWidth; ++i) squares += double{x[i]} * x[i];
      const double norm = 1 / std::sqrt(squares / kWidth + model.config.norm_epsilon);
      for (size_t i = 0; i < kWidth; ++i) expected[i] += std::pow(x[i] * norm * scale[i], 2);
      ++rows;
    }
  }
  for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
    const auto& got = found.at("model.layers.0.self_attn." + std::string(name) + ".weight");
    ASSERT_EQ(got.size(), kWidth);
    for (size_t i = 0; i < kWidth; ++i) EXPECT_NEAR(got[i], expected[i] / rows, 1e-5 + 1e-4 * expected[i] / rows) << i;
  }
  EXPECT_EQ(found.at("model.layers.4.mlp.down_proj.weight").size(), 172u);
  EXPECT_EQ(found.at("model.embed_tokens.weight").size(), kWidth);  // the tied head
  EXPECT_EQ(found.size(), 5u * 7 + 1);
}

TEST_F(Engine, SelfTextIsSeededAndWhole) {
  const auto a = evaluate::self_text(model, *device, *tokenizer, 2000, 512, 3);
  ASSERT_EQ(a.size(), 4u);
  std::vector<int> seen(512);
  for (const auto& w : a) {
    ASSERT_EQ(w.size(), 512u);
    EXPECT_EQ(w.front(), *tokenizer->bos);
    for (const TokenId id : w) ++seen.at(static_cast<size_t>(id));
  }
  EXPECT_GT(std::count_if(seen.begin(), seen.end(), [](int n) { return n > 0; }), 100);  // not one phrase over and over
  EXPECT_EQ(a, evaluate::self_text(model, *device, *tokenizer, 2000, 512, 3));
  EXPECT_NE(a, evaluate::self_text(model, *device, *tokenizer, 2000, 512, 4));
  EXPECT_EQ(evaluate::self_text(model, *device, *tokenizer, 100, 48, 1).size(), 3u);
}

TEST_F(Engine, SpeedFiguresAreConsistent) {
  evaluate::SpeedOptions o;
  o.prefill_tokens = 64;
  o.decode_tokens = 16;
  o.repetitions = 3;
  const auto r = evaluate::measure_speed(kPath, *device, o);
  for (const auto& s : {r.prefill_tokens_per_second, r.decode_tokens_per_second, r.first_token_seconds}) {
    EXPECT_GT(s.min, 0);
    EXPECT_LE(s.min, s.median);
    EXPECT_LE(s.median, s.max);
  }
  EXPECT_GT(r.prefill_tokens_per_second.median, r.decode_tokens_per_second.median);
  EXPECT_GE(r.weight_bytes, 250000u * 4);
  EXPECT_EQ(r.cache_bytes, 5u * 2 * 4 * 8 * 64 * 2);  // layers, k and v, heads, width, context, F16
  EXPECT_GT(r.peak_memory_bytes, r.weight_bytes);
  EXPECT_GT(r.load_seconds, 0);
  EXPECT_GT(r.decode_bandwidth_share, 0);
  EXPECT_EQ(r.threads, 2);
  o.repetitions = 0;
  EXPECT_EQ(kind_of([&] { evaluate::measure_speed(kPath, *device, o); }), ErrorKind::kUsage);
}

}  // namespace
}  // namespace hone
