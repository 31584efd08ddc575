// Multiple-choice knapsack by Lagrangian bound and dynamic programming on Pareto states (after Dyer,
// Riha & Walker 1995, and Pisinger 1995). The price of a byte that solves the linear relaxation gives a
// lower bound and, for every choice, a reduced cost: what taking it adds to the bound. A greedy solution
// gives an upper bound. Choices, and later partial solutions, whose reduced costs exceed the gap between
// the two cannot be part of a better solution and are dropped; what is left is searched completely.
#include "quant/knapsack.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace hone::quant {
namespace {

// Partial solutions kept per item and in all. Past that, states of nearly equal size are merged (the
// cheaper one stays): sizes stay exact, but optimality is no longer proven.
constexpr size_t kMaxStates = 1 << 17;
constexpr size_t kMaxStored = 16u << 20;

struct Option {
  uint64_t bytes;
  double cost;
  int index;           // in the caller's list
  double reduced = 0;  // cost + price * bytes, above the item's least
};
using Options = std::vector<Option>;

struct Problem {
  std::vector<Options> items;  // per item by rising bytes and falling cost: no dominated choices
  uint64_t budget = 0;
  double price = 0;            // of a byte
  double bound = 0;            // Lagrangian lower bound at that price
};

Options useful_options(const std::vector<Choice>& choices, size_t item) {
  if (choices.empty()) fail(ErrorKind::kUsage, "[knapsack] item {} has no choices", item);
  Options all;
  for (size_t c = 0; c < choices.size(); ++c) {
    if (!std::isfinite(choices[c].cost)) fail(ErrorKind::kUsage, "[knapsack] item {}, choice {}: the cost is {}", item, c, choices[c].cost);
    all.push_back({choices[c].bytes, choices[c].cost, static_cast<int>(c)});
  }
  std::stable_sort(all.begin(), all.end(), [](const Option& a, const Option& b) {
    return a.bytes != b.bytes ? a.bytes < b.bytes : a.cost < b.cost;
  });
  Options kept;
  for (const Option& o : all)
    if (kept.empty() || o.cost < kept.back().cost) kept.push_back(o);
  return kept;
}

// A step along the lower convex hull of an item's (bytes, cost) points.
struct HullStep {
  double gain;  // cost saved per byte
  uint64_t bytes;
  size_t item;
  size_t to;
};

void append_hull(const Options& options, size_t item, std::vector<HullStep>& steps) {
  for (size_t at = 0; at + 1 < options.size();) {
    size_t best = at + 1;
    double best_gain = -1;
    for (size_t k = at + 1; k < options.size(); ++k) {
      const double gain = (options[at].cost - options[k].cost) / static_cast<double>(options[k].bytes - options[at].bytes);
      if (gain >= best_gain) best = k, best_gain = gain;
    }
    steps.push_back({best_gain, options[best].bytes - options[at].bytes, item, best});
    at = best;
  }
}

// Walks the hulls by falling gain until the budget is spent: chosen is what fits as a whole, and the gain of
// the first step that does not fit is the price of a byte. Later steps that still fit are taken too.
std::vector<size_t> solve_relaxation(Problem& p) {
  std::vector<HullStep> steps;
  uint64_t used = 0;
  for (size_t i = 0; i < p.items.size(); ++i) {
    used += p.items[i][0].bytes;
    append_hull(p.items[i], i, steps);
  }
  std::stable_sort(steps.begin(), steps.end(), [](const HullStep& a, const HullStep& b) { return a.gain > b.gain; });
  std::vector<size_t> chosen(p.items.size(), 0);
  std::vector<bool> closed(p.items.size(), false);
  bool full = false;
  for (const HullStep& s : steps) {
    if (closed[s.item]) continue;
    if (used + s.bytes > p.budget) {
      if (!full) p.price = s.gain;
      full = closed[s.item] = true;
      continue;
    }
    used += s.bytes;
    chosen[s.item] = s.to;
  }
  p.bound = -p.price * static_cast<double>(p.budget);
  for (Options& options : p.items) {
    double least = std::numeric_limits<double>::infinity();
    for (Option& o : options) least = std::min(least, o.reduced = o.cost + p.price * static_cast<double>(o.bytes));
    for (Option& o : options) o.reduced -= least;
    p.bound += least;
  }
  return chosen;
}

uint64_t total_bytes(const Problem& p, const std::vector<size_t>& chosen) {
  uint64_t sum = 0;
  for (size_t i = 0; i < chosen.size(); ++i) sum += p.items[i][chosen[i]].bytes;
  return sum;
}
double total_cost(const Problem& p, const std::vector<size_t>& chosen) {
  double sum = 0;
  for (size_t i = 0; i < chosen.size(); ++i) sum += p.items[i][chosen[i]].cost;
  return sum;
}

// Changes of one item, then of two at once, as long as they lower the cost within the budget: a tighter
// upper bound makes the complete search short.
void improve(const Problem& p, std::vector<size_t>& chosen) {
  struct Move {
    int64_t bytes;
    double cost;
    size_t item, to;
  };
  for (int round = 0; round < 50; ++round) {
    const auto slack = static_cast<int64_t>(p.budget - total_bytes(p, chosen));
    std::vector<Move> moves{{0, 0, p.items.size(), 0}};  // the empty move stands for "one item only"
    for (size_t i = 0; i < p.items.size(); ++i)
      for (size_t k = 0; k < p.items[i].size(); ++k)
        if (k != chosen[i])
          moves.push_back({static_cast<int64_t>(p.items[i][k].bytes) - static_cast<int64_t>(p.items[i][chosen[i]].bytes),
                           p.items[i][k].cost - p.items[i][chosen[i]].cost, i, k});
    // With moves sorted by bytes, the cheapest partner that fits is a prefix minimum (the best two of
    // different items).
    std::sort(moves.begin(), moves.end(), [](const Move& a, const Move& b) { return a.bytes < b.bytes; });
    std::vector<std::pair<size_t, size_t>> least(moves.size());
    size_t first = 0, second = 0;
    for (size_t m = 0; m < moves.size(); ++m) {
      if (moves[m].cost < moves[first].cost) {
        if (moves[m].item != moves[first].item) second = first;
        first = m;
      } else if (moves[m].item != moves[first].item && (moves[second].item == moves[first].item || moves[m].cost < moves[second].cost)) {
        second = m;
      }
      least[m] = {first, second};
    }
    double best = -1e-12 * std::abs(total_cost(p, chosen));
    const Move *a = nullptr, *b = nullptr;
    for (const Move& m : moves) {
      const auto end = std::upper_bound(moves.begin(), moves.end(), slack - m.bytes,
                                        [](int64_t room, const Move& other) { return room < other.bytes; });
      if (end == moves.begin()) continue;
      const auto [x, y] = least[static_cast<size_t>(end - moves.begin()) - 1];
      const Move& partner = moves[x].item != m.item ? moves[x] : moves[y];
      if (partner.item != m.item && m.cost + partner.cost < best) best = m.cost + partner.cost, a = &m, b = &partner;
    }
    if (!a) return;
    for (const Move* m : {a, b})
      if (m->item < p.items.size()) chosen[m->item] = m->to;
  }
}

// A partial solution: choices made for the items so far.
struct State {
  uint64_t bytes;
  double cost;
  double reduced;   // sum of reduced costs
  uint32_t parent;  // index in the previous layer
  uint16_t option;
};
struct Trace {
  uint32_t parent;
  uint16_t option;
};

// Keeps, by rising bytes, the states that are cheaper than all smaller ones.
void keep_pareto(std::vector<State>& states) {
  std::sort(states.begin(), states.end(), [](const State& a, const State& b) {
    return a.bytes != b.bytes ? a.bytes < b.bytes : a.cost < b.cost;
  });
  size_t kept = 0;
  for (const State& s : states)
    if (kept == 0 || s.cost < states[kept - 1].cost) states[kept++] = s;
  states.resize(kept);
}

// Leaves at most `limit` states, the cheapest of each stretch of sizes.
void thin_out(std::vector<State>& states, size_t limit) {
  const uint64_t low = states.front().bytes, width = (states.back().bytes - low) / limit + 1;
  size_t kept = 0;
  uint64_t last = ~uint64_t{0};
  for (const State& s : states) {
    const uint64_t stretch = (s.bytes - low) / width;
    if (stretch == last)
      states[kept - 1] = s;  // larger and, as Pareto states are, cheaper
    else
      states[kept++] = s;
    last = stretch;
  }
  states.resize(kept);
}

// Complete search among what the bounds leave. Returns true when `chosen` is proven optimal.
bool search(const Problem& p, std::vector<size_t>& chosen) {
  const double upper = total_cost(p, chosen), scale = std::abs(upper) + std::abs(p.bound);
  const double gap = upper - p.bound;
  const double tolerance = 1e-12 * scale;  // of the sums
  if (gap <= tolerance) return true;

  std::vector<size_t> order(p.items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto spread = [&](size_t i) { return p.items[i].back().bytes - p.items[i].front().bytes; };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return spread(a) > spread(b); });
  std::vector<uint64_t> least_after(order.size() + 1, 0), most_after(order.size() + 1, 0);
  for (size_t n = order.size(); n-- > 0;) {
    least_after[n] = least_after[n + 1] + p.items[order[n]].front().bytes;
    most_after[n] = most_after[n + 1] + p.items[order[n]].back().bytes;
  }

  bool complete = true;
  size_t stored = 0;
  std::vector<State> states{{0, 0, 0, 0, 0}};
  std::vector<std::vector<Trace>> layers;
  for (size_t n = 0; n < order.size(); ++n) {
    std::vector<State> next;
    for (uint32_t s = 0; s < states.size(); ++s)
      for (size_t k = 0; k < p.items[order[n]].size(); ++k) {
        const Option& o = p.items[order[n]][k];
        const State grown{states[s].bytes + o.bytes, states[s].cost + o.cost, states[s].reduced + o.reduced, s,
                          static_cast<uint16_t>(k)};
        if (grown.bytes + least_after[n + 1] > p.budget) break;  // options rise in size
        // Bytes that no completion can use are paid for by the bound as well.
        const uint64_t reach = grown.bytes + most_after[n + 1];
        const double unused = reach < p.budget ? p.price * static_cast<double>(p.budget - reach) : 0;
        if (grown.reduced + unused < gap + tolerance) next.push_back(grown);
      }
    if (next.empty()) return complete;  // nothing beats the greedy solution
    keep_pareto(next);
    const size_t limit = std::min(kMaxStates, std::max<size_t>(1024, (kMaxStored - std::min(kMaxStored, stored)) / (order.size() - n)));
    if (next.size() > limit) {
      thin_out(next, limit);
      complete = false;
    }
    stored += next.size();
    std::vector<Trace> layer;
    layer.reserve(next.size());
    for (const State& s : next) layer.push_back({s.parent, s.option});
    layers.push_back(std::move(layer));
    states = std::move(next);
  }
  const State& best = states.back();  // the cheapest that fits
  if (best.cost >= upper) return complete;
  uint32_t at = static_cast<uint32_t>(states.size() - 1);
  for (size_t n = order.size(); n-- > 0;) {
    chosen[order[n]] = layers[n][at].option;
    at = layers[n][at].parent;
  }
  return complete;
}

}  // namespace

Allocation solve_knapsack(const std::vector<std::vector<Choice>>& items, uint64_t budget_bytes) {
  Problem p;
  p.budget = budget_bytes;
  uint64_t smallest = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    p.items.push_back(useful_options(items[i], i));
    smallest += p.items.back()[0].bytes;
  }
  if (smallest > budget_bytes)
    fail(ErrorKind::kGoalNotMet, "[knapsack] the budget of {} bytes cannot be met; the smallest possible size is {} bytes",
         budget_bytes, smallest);
  std::vector<size_t> chosen = solve_relaxation(p);
  improve(p, chosen);
  const bool proven = search(p, chosen);
  Allocation result;
  for (size_t i = 0; i < items.size(); ++i) result.choice.push_back(p.items[i][chosen[i]].index);
  result.bytes = total_bytes(p, chosen);
  result.cost = total_cost(p, chosen);
  result.lower_bound = proven ? result.cost : std::min(result.cost, p.bound);
  return result;
}

}  // namespace hone::quant
