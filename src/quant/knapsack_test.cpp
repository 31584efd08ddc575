// The allocator against complete enumeration on small instances and against the textbook table over bytes
// on medium ones, then its speed and its proof at the size of a real model.
#include "quant/knapsack.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/random.h"

namespace hone::quant {
namespace {

using Items = std::vector<std::vector<Choice>>;

// Costs fall with size, as quantization errors do, with noise that makes hulls concave in places.
Items random_items(Random& random, size_t count, size_t choices, uint64_t unit, uint64_t units) {
  Items items;
  for (size_t i = 0; i < count; ++i) {
    std::vector<Choice> item;
    const double weight = std::exp(2 * random.normal());
    for (size_t c = 0; c < choices; ++c) {
      const uint64_t size = 1 + random.below(units);
      item.push_back({unit * size, weight * std::exp(-4.0 * static_cast<double>(size) / static_cast<double>(units)) *
                                       (0.8 + 0.4 * random.uniform())});
    }
    items.push_back(item);
  }
  return items;
}

uint64_t least_bytes(const Items& items) {
  uint64_t sum = 0;
  for (const auto& item : items)
    sum += std::min_element(item.begin(), item.end(), [](auto& a, auto& b) { return a.bytes < b.bytes; })->bytes;
  return sum;
}

double enumerate(const Items& items, uint64_t budget, size_t i = 0) {
  if (i == items.size()) return 0;
  double best = std::numeric_limits<double>::infinity();
  for (const Choice& c : items[i])
    if (c.bytes <= budget) best = std::min(best, c.cost + enumerate(items, budget - c.bytes, i + 1));
  return best;
}

// Least cost by exact use of each number of units.
double table_over_units(const Items& items, uint64_t budget, uint64_t unit) {
  std::vector<double> best(budget / unit + 1, 0);
  for (const auto& item : items) {
    std::vector<double> next(best.size(), std::numeric_limits<double>::infinity());
    for (const Choice& c : item)
      for (size_t u = c.bytes / unit; u < next.size(); ++u) next[u] = std::min(next[u], best[u - c.bytes / unit] + c.cost);
    best = next;
  }
  return best.back();
}

void expect_consistent(const Items& items, uint64_t budget, const Allocation& a) {
  ASSERT_EQ(a.choice.size(), items.size());
  uint64_t bytes = 0;
  double cost = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    const Choice& c = items[i].at(static_cast<size_t>(a.choice[i]));
    bytes += c.bytes;
    cost += c.cost;
  }
  EXPECT_EQ(a.bytes, bytes);
  EXPECT_LE(a.bytes, budget);
  EXPECT_NEAR(a.cost, cost, 1e-12 * std::abs(cost));
  EXPECT_LE(a.lower_bound, a.cost);
}

TEST(Knapsack, EqualsEnumerationOnSmallInstances) {
  Random random(1);
  for (int round = 0; round < 300; ++round) {
    Items items = random_items(random, 1 + random.below(6), 1 + random.below(5), 1, 40);
    if (round % 3 == 0)  // costs that do not follow the sizes, negative ones too
      for (auto& item : items)
        for (Choice& c : item) c.cost = random.normal();
    const uint64_t budget = least_bytes(items) + random.below(100);
    const Allocation a = solve_knapsack(items, budget);
    expect_consistent(items, budget, a);
    EXPECT_NEAR(a.cost, enumerate(items, budget), 1e-12) << "round " << round;
    EXPECT_EQ(a.lower_bound, a.cost);
  }
}

TEST(Knapsack, EqualsTableOnMediumInstances) {
  Random random(2);
  for (int round = 0; round < 20; ++round) {
    const uint64_t unit = 1 + random.below(5000);
    const Items items = random_items(random, 40, 10, unit, 60);
    const uint64_t least = least_bytes(items), budget = least + random.below(unit * 1500);
    const Allocation a = solve_knapsack(items, budget);
    expect_consistent(items, budget, a);
    const double best = table_over_units(items, budget, unit);
    EXPECT_NEAR(a.cost, best, 1e-10 * best) << "round " << round;
    EXPECT_EQ(a.lower_bound, a.cost);
  }
}

// 210 matrices, 12 formats, one item (the embedding) far larger than the others, sizes without a useful
// common divisor.
Items model_like(Random& random) {
  const double bits[12] = {2.25, 2.625, 3.4375, 4.25, 4.5, 5.0, 5.5, 6.0, 6.5625, 8.5, 16, 4.5};
  Items items;
  for (int i = 0; i < 210; ++i) {
    const uint64_t weights = i == 0 ? 28311552 : 100000 + random.below(800000);
    const double sensitivity = std::exp(1.5 * random.normal()) * static_cast<double>(weights);
    std::vector<Choice> item;
    for (double b : bits)
      item.push_back({static_cast<uint64_t>(static_cast<double>(weights) * b / 8),
                      sensitivity * std::exp2(-2 * b) * (0.7 + 0.6 * random.uniform())});
    items.push_back(item);
  }
  return items;
}

TEST(Knapsack, ProvesModelSizedInstancesInASecond) {
  Random random(3);
  for (double bits : {3.0, 4.5, 5.5, 7.0}) {
    const Items items = model_like(random);
    double weights = 0;
    for (const auto& item : items) weights += static_cast<double>(item[10].bytes) / 2;
    const auto budget = static_cast<uint64_t>(weights * bits / 8);
    const auto start = std::chrono::steady_clock::now();
    const Allocation a = solve_knapsack(items, budget);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    expect_consistent(items, budget, a);
    EXPECT_EQ(a.lower_bound, a.cost) << bits;
    EXPECT_LT(seconds.count(), 5.0);  // 0.1 s or less on an idle machine
    RecordProperty("seconds", std::to_string(seconds.count()));
  }
}

TEST(Knapsack, EdgesOfTheBudget) {
  const Items items{{{10, 5}, {20, 1}}, {{30, 4}, {40, 0}}};
  EXPECT_EQ(solve_knapsack(items, 40).choice, (std::vector<int>{0, 0}));
  EXPECT_EQ(solve_knapsack(items, 49).choice, (std::vector<int>{0, 0}));
  EXPECT_EQ(solve_knapsack(items, 50).cost, 5);
  EXPECT_EQ(solve_knapsack(items, 1000).choice, (std::vector<int>{1, 1}));
  EXPECT_TRUE(solve_knapsack({}, 0).choice.empty());
  try {
    solve_knapsack(items, 39);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kGoalNotMet);
    EXPECT_NE(std::string(e.what()).find("40 bytes"), std::string::npos) << e.what();
  }
  EXPECT_THROW(solve_knapsack({{}}, 10), Error);
  EXPECT_THROW(solve_knapsack({{{1, std::nan("")}}}, 10), Error);
}

}  // namespace
}  // namespace hone::quant
