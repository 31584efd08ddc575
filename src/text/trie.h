// Prefix tree over bytes in one open-addressing table: a step down is one probe of 16 bytes. Read-only after
// building; used for Unigram, WordPiece and user-defined symbols.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace hone::text {

class ByteTrie {
 public:
  static constexpr int32_t kNone = -1;

  // The first of two equal keys wins. key must not be empty, value not negative.
  void add(std::string_view key, int32_t value) {
    uint32_t node = 0;
    for (size_t i = 0; i < key.size(); ++i) {
      if ((count_ + 1) * 2 > slots_.size()) grow();
      Slot& s = slots_[slot(node, static_cast<uint8_t>(key[i]))];
      if (s.key == kFree)
        s = {make_key(node, static_cast<uint8_t>(key[i])), static_cast<uint32_t>(++count_), kNone};
      if (i + 1 == key.size() && s.value < 0) s.value = value;
      node = s.child;
    }
  }
  bool empty() const { return count_ == 0; }

  // One step down from node (0 is the root): false when no key goes on with this byte.
  bool step(uint32_t& node, char byte, int32_t& value) const {
    if (slots_.empty()) return false;
    const Slot& s = slots_[slot(node, static_cast<uint8_t>(byte))];
    if (s.key == kFree) return false;
    node = s.child;
    value = s.value;
    return true;
  }

  // Calls visit(length, value) for every key that text[at..] begins with, shortest first.
  template <typename Visit>
  void prefixes(std::string_view text, size_t at, Visit visit) const {
    uint32_t node = 0;
    int32_t value = kNone;
    for (size_t i = at; i < text.size() && step(node, text[i], value); ++i)
      if (value >= 0) visit(i + 1 - at, value);
  }
  // Length of the longest key that text[at..] begins with (0: none), and its value.
  size_t longest(std::string_view text, size_t at, int32_t* found = nullptr) const {
    size_t best = 0;
    prefixes(text, at, [&](size_t length, int32_t value) {
      best = length;
      if (found) *found = value;
    });
    return best;
  }

 private:
  static constexpr uint64_t kFree = ~uint64_t{0};
  struct Slot {
    uint64_t key = kFree;
    uint32_t child = 0;
    int32_t value = kNone;
  };
  static uint64_t make_key(uint32_t node, uint8_t byte) { return uint64_t{node} << 8 | byte; }
  size_t slot(uint32_t node, uint8_t byte) const {
    const uint64_t key = make_key(node, byte);
    const uint64_t h = key * 0x9E3779B97F4A7C15ull;
    const size_t mask = slots_.size() - 1;
    size_t i = static_cast<size_t>(h >> 24) & mask;
    while (slots_[i].key != kFree && slots_[i].key != key) i = (i + 1) & mask;
    return i;
  }
  void grow() {
    std::vector<Slot> old(slots_.empty() ? 64 : slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& s : old)
      if (s.key != kFree) slots_[slot(static_cast<uint32_t>(s.key >> 8), static_cast<uint8_t>(s.key))] = s;
  }
  std::vector<Slot> slots_;
  size_t count_ = 0;
};

}  // namespace hone::text
