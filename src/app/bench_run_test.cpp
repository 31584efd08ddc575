// A speed measurement on the CPU device: that its figures are whole and agree with each other. Never times.
#include <gtest/gtest.h>

#include "app/bench_text.h"
#include "backends/cpu/cpu_device.h"
#include "models/test_models.h"

namespace hone::app {
namespace {

using evaluate::PhaseProfile;
using evaluate::ProfileLine;

models::Model small_model(tensor::FormatId format) {
  models::Model model;
  model.checkpoint = models::make_hf(models::small_config(), format);
  model.family = &models::find_family(*model.checkpoint);
  model.config = model.family->read_config(*model.checkpoint);
  model.tensor_infos = model.family->tensors(model.config, *model.checkpoint);
  return model;
}

evaluate::SpeedResult measure(int64_t sequences) {
  const models::Model model = small_model(tensor::FormatId::kBF16);
  const auto device = backends::make_cpu_device({.threads = 2});
  evaluate::SpeedOptions options;
  options.prefill_tokens = 24;
  options.decode_tokens = 4;
  options.repetitions = 2;
  options.depth = 5;
  options.sequences = sequences;
  options.profile = true;
  return evaluate::measure_speed(model, *device, options);
}

// Measured once for all tests: each measures the machine's roofs too.
const evaluate::SpeedResult& one() {
  static const evaluate::SpeedResult result = measure(1);
  return result;
}
const evaluate::SpeedResult& three() {
  static const evaluate::SpeedResult result = measure(3);
  return result;
}

void expect_whole(const PhaseProfile& phase, int64_t runs, int64_t tokens, uint64_t weight_bytes) {
  EXPECT_EQ(phase.runs, runs);
  EXPECT_EQ(phase.tokens, tokens);
  EXPECT_EQ(phase.cost.weight_bytes, static_cast<uint64_t>(runs) * weight_bytes);
  EXPECT_GE(phase.between_seconds, 0);
  EXPECT_LT(phase.between_seconds, phase.seconds);
  for (const auto* lines : {&phase.kinds, &phase.ops}) {
    double seconds = 0;
    evaluate::OpCost cost;
    for (const ProfileLine& line : *lines) {
      seconds += line.seconds;
      cost += line.cost;
      EXPECT_EQ(line.calls % runs, 0) << line.name;
    }
    EXPECT_NEAR(seconds, phase.seconds - phase.between_seconds, 1e-9);
    EXPECT_EQ(cost.weight_bytes, phase.cost.weight_bytes);
    EXPECT_EQ(cost.cache_bytes, phase.cost.cache_bytes);
    EXPECT_DOUBLE_EQ(cost.multiply_adds, phase.cost.multiply_adds);
  }
}

TEST(Bench, ProfileSumsToItsRuns) {
  const auto& r = one();
  ASSERT_TRUE(r.prefill_profile && r.decode_profile);
  expect_whole(*r.prefill_profile, 2, 48, r.weight_bytes);
  expect_whole(*r.decode_profile, 4, 4, r.weight_bytes);
  EXPECT_EQ(r.decode_cost.weight_bytes, r.weight_bytes);
  EXPECT_DOUBLE_EQ(r.prefill_profile->cost.multiply_adds, 2 * r.prefill_cost.multiply_adds);
  uint64_t matrices = 0;
  for (const auto& use : r.products) {
    EXPECT_EQ(use.format, "BF16");
    EXPECT_FALSE(use.decode.empty() || use.prefill.empty());
    matrices += use.bytes;
  }
  EXPECT_EQ(matrices, 2u * (2 * (32 * 32 + 2 * 16 * 32 + 32 * 32 + 3 * 32 * 48) + 32 * 40));
  EXPECT_LT(matrices, r.weight_bytes);  // norms
}

TEST(Bench, SequencesDecodeTogether) {
  const auto& r = three();
  ASSERT_TRUE(r.decode_profile);
  expect_whole(*r.decode_profile, 4, 12, r.weight_bytes);
  EXPECT_EQ(r.decode_cost.cache_bytes, 3 * one().decode_cost.cache_bytes);
}

TEST(Bench, SharesAreOfTheRoof) {
  const auto& r = one();
  const double step = static_cast<double>(r.decode_cost.weight_bytes + r.decode_cost.cache_bytes);
  EXPECT_NEAR(r.decode_bandwidth_share, step * r.decode_tokens_per_second.median / r.read_bandwidth, 1e-9);
  EXPECT_GT(r.prefill_arithmetic_share, 0);
  EXPECT_GT(r.peak_memory_bytes, r.cache_bytes);
}

TEST(Bench, TextAndJsonTellTheSame) {
  const auto& r = three();
  const evaluate::Sample fresh{0.25, 0.2, 0.3};
  const std::string text = bench_text(r, &fresh);
  for (const char* word :
       {"prefill 24", "decode 4 x 3 after 5", "fresh process", "read bandwidth", "activations",
        "between the ops", "MatMul", "blk.*.attention", "of the arithmetic"})
    EXPECT_NE(text.find(word), std::string::npos) << word << "\n" << text;
  const Json json = to_json(r);
  EXPECT_EQ(json["sequences"], 3);
  EXPECT_EQ(json["depth"], 5);
  EXPECT_EQ(json["weight_bytes_per_token"], r.weight_bytes);
  EXPECT_EQ(json["products"].size(), r.products.size());
  EXPECT_EQ(json["profile"]["decode"]["ops"].size(), r.decode_profile->ops.size());
  EXPECT_EQ(json["roofs"]["arithmetic"]["F32"]["multiply_adds_per_second"],
            r.roofs.peaks[0].multiply_adds_per_second);
}

}  // namespace
}  // namespace hone::app
