// What a run must read and multiply, against counts made by hand.
#include "evaluate/speed.h"

#include <gtest/gtest.h>

#include "models/test_models.h"

namespace hone::evaluate {
namespace {

double sum_of(const std::vector<OpCost>& costs, double (*value)(const OpCost&)) {
  double total = 0;
  for (const OpCost& cost : costs) total += value(cost);
  return total;
}
double bytes(const OpCost& c) {
  return static_cast<double>(c.weight_bytes);
}
double cached(const OpCost& c) {
  return static_cast<double>(c.cache_bytes);
}
double work(const OpCost& c) {
  return c.multiply_adds;
}

// small_config(): hidden 32, 2 layers, 4 heads over 2 of keys and values, width 8, feed-forward 48,
// vocabulary 40.
constexpr double kLayer = 32 * 32 + 2 * 16 * 32 + 32 * 32 + 3 * 32 * 48, kHead = 32 * 40;

struct Small {
  std::shared_ptr<tensor::Checkpoint> checkpoint = models::make_hf(models::small_config());
  const models::Family& family = models::find_family(*checkpoint);
  ir::Graph graph = family.build(family.read_config(*checkpoint), *checkpoint,
                                 {.max_context = 64, .select_rows = true, .with_cache = true});
};

TEST(SpeedCost, OneTokenReadsEveryWeightOnce) {
  const Small small;
  const auto costs = run_costs(small.graph, {.past = 10});
  ASSERT_EQ(costs.size(), small.graph.nodes().size());
  // F32 matrices and the 5 norms; shapes of reshapes are a few integers more.
  const double matrices = 4 * (2 * kLayer + kHead), norms = 4 * 5 * 32;
  EXPECT_GE(sum_of(costs, bytes), matrices + norms);
  EXPECT_LE(sum_of(costs, bytes), matrices + norms + 256);
  // 11 keys and values of 2 heads of 8 in 2 layers, 2 bytes each.
  EXPECT_EQ(sum_of(costs, cached), 2 * 11 * 2 * 2 * 8 * 2);
  EXPECT_EQ(sum_of(costs, work), 2 * kLayer + kHead + 2 * 11 * 4 * (8 + 8));
}

TEST(SpeedCost, PromptsMultiplyEveryTokenButOneRowOfLogits) {
  const Small small;
  const auto one = run_costs(small.graph, {.past = 0}),
             many = run_costs(small.graph, {.sequence = 20, .past = 4});
  EXPECT_EQ(sum_of(many, bytes), sum_of(one, bytes));
  double pairs = 0;
  for (int i = 0; i < 20; ++i) pairs += 4 + i + 1;
  EXPECT_EQ(sum_of(many, work), 20 * 2 * kLayer + kHead + 2 * pairs * 4 * (8 + 8));
  EXPECT_EQ(sum_of(many, cached), 2 * 24 * 2 * 2 * 8 * 2);
}

TEST(SpeedCost, SequencesShareWeightsAndHaveTheirOwnCaches) {
  const Small small;
  RunSizes sizes{.batch = 3, .past = 10, .rows = 3, .cache_format = tensor::FormatId::kF32};
  const auto one = run_costs(small.graph, {.past = 10}), three = run_costs(small.graph, sizes);
  EXPECT_EQ(sum_of(three, bytes), sum_of(one, bytes));
  EXPECT_EQ(sum_of(three, work), 3 * sum_of(one, work));
  EXPECT_EQ(sum_of(three, cached), 2 * 3 * sum_of(one, cached));
}

TEST(SpeedCost, AWindowBoundsWhatIsAttended) {
  ir::Graph graph;
  const ir::Dim batch = ir::Dim::sym(graph.symbol("batch")),
                sequence = ir::Dim::sym(graph.symbol("sequence")), past = ir::Dim::sym(graph.symbol("past"));
  const auto x = graph.add_input("x", ir::DType::kF32, {batch, sequence, ir::Dim::of(32)});
  const auto kv = graph.add_input("kv", ir::DType::kF32, {batch, sequence, ir::Dim::of(16)});
  const ir::Shape cache{batch, ir::Dim::of(2), past, ir::Dim::of(8)};
  const auto keys = graph.add_input("past_key", ir::DType::kF32, cache),
             values = graph.add_input("past_value", ir::DType::kF32, cache);
  graph.add_node("Attention", "attention", {x, kv, kv, ir::kNoValue, keys, values},
                 {{"q_num_heads", int64_t{4}},
                  {"kv_num_heads", int64_t{2}},
                  {"is_causal", int64_t{1}},
                  {"sliding_window", int64_t{6}}},
                 {"attention", "present_key", "present_value"});
  const OpCost one = run_costs(graph, {.past = 100}).at(0);
  EXPECT_EQ(one.multiply_adds, 6 * 4 * 16);
  EXPECT_EQ(one.cache_bytes, 6u * 2 * 16 * 2);
  // Queries at 3, 4, ... 7 see 4, 5, 6, 6 and 6 keys, all of 0 ... 7.
  const OpCost many = run_costs(graph, {.sequence = 5, .past = 3}).at(0);
  EXPECT_EQ(many.multiply_adds, (4 + 5 + 6 + 6 + 6) * 4 * 16);
  EXPECT_EQ(many.cache_bytes, 8u * 2 * 16 * 2);
}

TEST(SpeedCost, ProductsAreListedByFormat) {
  const Small small;
  const auto uses = product_uses(small.graph, 1, 20);
  ASSERT_EQ(uses.size(), 1u);
  EXPECT_EQ(uses[0].format, "F32");
  EXPECT_EQ(uses[0].count, 2 * 7 + 1);
  EXPECT_EQ(static_cast<double>(uses[0].bytes), 4 * (2 * kLayer + kHead));
  EXPECT_EQ(uses[0].prefill, "F32");
}

TEST(SpeedProfile, NamesWithoutTheirLayer) {
  EXPECT_EQ(layer_free_name("blk.12.ffn_up"), "blk.*.ffn_up");
  EXPECT_EQ(layer_free_name("output_norm"), "output_norm");
  EXPECT_EQ(layer_free_name("conv2d.3"), "conv2d.*");
  EXPECT_EQ(layer_free_name("a3.b"), "a3.b");
}

TEST(Roofs, PlausibleAndNeverMissing) {
  ThreadPool pool(1);
  const Roofs roofs = measure_roofs(pool);
  EXPECT_GT(roofs.read_bandwidth, 5e8);
  EXPECT_LT(roofs.read_bandwidth, 2e12);
  for (int a = 0; a < kernels::kArithmeticCount; ++a)
    EXPECT_GT(roofs.multiply_adds(static_cast<kernels::Arithmetic>(a)), 1e7);
  const OpCost cost{.weight_bytes = 1000, .cache_bytes = 500, .multiply_adds = 3000};
  EXPECT_DOUBLE_EQ(roofs.memory_seconds(cost), 1500 / roofs.read_bandwidth);
  EXPECT_DOUBLE_EQ(roofs.arithmetic_seconds(cost), 3000 / roofs.peaks[0].multiply_adds_per_second);
}

}  // namespace
}  // namespace hone::evaluate
