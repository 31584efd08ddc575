#include "text/bpe.h"

#include <algorithm>
#include <queue>

#include "text/unicode.h"

namespace hone::text {
namespace {

constexpr size_t kShortPiece = 24;  // below this a scan for the best pair beats a heap (measured)

void note_step(Steps* steps, const MergeTable::Entry& e) {
  if (steps && e.result < steps->unused->size() && (*steps->unused)[e.result]) steps->parts[e.result] = {e.left, e.right};
}

template <typename Table>
void merge_short(const Table& table, std::vector<Symbol>& symbols, Steps* steps) {
  constexpr uint32_t kNone = 0xFFFFFFFFu;
  uint32_t ranks[kShortPiece], results[kShortPiece];
  size_t n = symbols.size();
  const auto look = [&](size_t i) {
    const auto e = table.find(symbols[i].id, symbols[i + 1].id);
    ranks[i] = e ? e->rank : kNone;
    results[i] = e ? e->result : 0;
    if (e) note_step(steps, *e);
  };
  for (size_t i = 0; i + 1 < n; ++i) look(i);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i)
      if (ranks[i] < ranks[best]) best = i;
    if (ranks[best] == kNone) break;
    symbols[best].id = results[best];
    symbols[best].size += symbols[best + 1].size;
    for (size_t i = best + 1; i + 1 < n; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
      results[i] = results[i + 1];
    }
    --n;
    if (best > 0) look(best - 1);
    if (best + 1 < n) look(best);
  }
  symbols.resize(n);
}

struct Candidate {
  uint32_t rank, position, left, right, result;
  bool operator>(const Candidate& o) const { return rank != o.rank ? rank > o.rank : position > o.position; }
};

template <typename Table>
void merge_all(const Table& table, std::vector<Symbol>& symbols, Steps* steps) {
  if (symbols.size() < 2) return;
  if (symbols.size() <= kShortPiece) return merge_short(table, symbols, steps);

  // A doubly linked list over the array; merged-away symbols have size 0. Heap entries are checked when
  // they are taken, so nothing is ever removed from the heap.
  const auto n = static_cast<uint32_t>(symbols.size());
  std::vector<uint32_t> previous(n), next(n);
  for (uint32_t i = 0; i < n; ++i) previous[i] = i - 1, next[i] = i + 1;
  std::vector<Candidate> storage;
  storage.reserve(n);
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap(std::greater<>(), std::move(storage));
  const auto offer = [&](uint32_t i) {
    if (next[i] >= n) return;
    const uint32_t left = symbols[i].id, right = symbols[next[i]].id;
    if (const auto e = table.find(left, right)) {
      heap.push({e->rank, i, left, right, e->result});
      note_step(steps, *e);
    }
  };
  for (uint32_t i = 0; i + 1 < n; ++i) offer(i);
  std::vector<bool> gone(n, false);
  while (!heap.empty()) {
    const Candidate c = heap.top();
    heap.pop();
    const uint32_t i = c.position;
    if (gone[i] || symbols[i].id != c.left || next[i] >= n || symbols[next[i]].id != c.right) continue;
    const uint32_t j = next[i];
    symbols[i].id = c.result;
    symbols[i].size += symbols[j].size;
    gone[j] = true;
    next[i] = next[j];
    if (next[i] < n) previous[next[i]] = i;
    if (previous[i] < n) offer(previous[i]);
    offer(i);
  }
  size_t kept = 0;
  for (uint32_t i = 0; i < n; i = next[i]) symbols[kept++] = symbols[i];
  symbols.resize(kept);
}

}  // namespace

void MergeTable::reserve(size_t pairs) {
  size_t capacity = 16;
  while (capacity < pairs * 2) capacity *= 2;
  if (capacity <= entries_.size()) return;
  std::vector<Entry> old = std::move(entries_);
  entries_.assign(capacity, Entry{});
  for (const Entry& e : old)
    if (e.left != kEmpty) entries_[slot(e.left, e.right)] = e;
}

size_t MergeTable::slot(uint32_t left, uint32_t right) const {
  uint64_t h = (uint64_t{left} << 32 | right) * 0x9E3779B97F4A7C15ull;
  h ^= h >> 32;
  const size_t mask = entries_.size() - 1;
  size_t i = static_cast<size_t>(h) & mask;
  while (entries_[i].left != kEmpty && (entries_[i].left != left || entries_[i].right != right)) i = (i + 1) & mask;
  return i;
}

void MergeTable::insert(uint32_t left, uint32_t right, uint32_t rank, uint32_t result) {
  reserve(count_ + 1);
  Entry& e = entries_[slot(left, right)];
  if (e.left == kEmpty) ++count_;
  else if (e.rank <= rank) return;
  e = {left, right, rank, result};
}

const MergeTable::Entry* MergeTable::find(uint32_t left, uint32_t right) const {
  if (entries_.empty()) return nullptr;
  const Entry& e = entries_[slot(left, right)];
  return e.left == kEmpty ? nullptr : &e;
}

void merge_symbols(const MergeTable& table, std::vector<Symbol>& symbols, Steps* steps) { merge_all(table, symbols, steps); }
void merge_symbols(const ScoreMerges& merges, std::vector<Symbol>& symbols, Steps* steps) { merge_all(merges, symbols, steps); }

}  // namespace hone::text
