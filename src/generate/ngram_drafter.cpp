#include "generate/ngram_drafter.h"

#include <algorithm>

#include "base/error.h"

namespace hone::generate {

using text::TokenId;

NgramDrafter::NgramDrafter(int longest) : longest_(longest) {
  HONE_CHECK(longest >= 1 && longest <= 16);
}

uint64_t NgramDrafter::key(size_t end, int n) const {
  uint64_t h = 0x9E3779B97F4A7C15ull * static_cast<uint64_t>(n);
  for (size_t i = end - static_cast<size_t>(n); i < end; ++i) {
    h = (h ^ static_cast<uint32_t>(text_[i])) * 0xBF58476D1CE4E5B9ull;
    h ^= h >> 29;
  }
  return h;
}

bool NgramDrafter::same_before(size_t a, size_t b, int n) const {
  const auto at = [&](size_t end) { return text_.begin() + static_cast<std::ptrdiff_t>(end) - n; };
  return std::equal(at(a), at(a) + n, at(b));
}

void NgramDrafter::index(size_t end) {
  for (int n = 1; n <= longest_ && static_cast<size_t>(n) <= end; ++n)
    follow_[key(end, n)] = static_cast<int32_t>(end);
}

int NgramDrafter::look(std::span<const TokenId> history) {
  const auto agreed =
      std::mismatch(text_.begin(), text_.end(), history.begin(), history.end()).first - text_.begin();
  if (static_cast<size_t>(agreed) < text_.size()) {  // entries may have hidden older ones
    text_.clear();
    follow_.clear();
    indexed_ = 0;
  }
  text_.insert(text_.end(), history.begin() + static_cast<std::ptrdiff_t>(text_.size()), history.end());
  for (size_t end = std::max<size_t>(1, indexed_); end < text_.size(); ++end) index(end);
  indexed_ = std::max<size_t>(1, text_.size());

  const size_t size = text_.size();
  for (int n = static_cast<int>(std::min<size_t>(size, static_cast<size_t>(longest_))); n >= 1; --n) {
    const auto found = follow_.find(key(size, n));
    if (found == follow_.end()) continue;
    const auto end = static_cast<size_t>(found->second);
    if (end >= size || !same_before(end, size, n)) continue;
    source_ = end;
    return n - 1;
  }
  return -1;
}

void NgramDrafter::extend(int most, Draft& draft) {
  draft.clear();
  for (size_t i = source_; draft.ids.size() < static_cast<size_t>(most); ++i)
    draft.ids.push_back(i < text_.size() ? text_[i] : draft.ids[i - text_.size()]);
}

std::vector<double> NgramDrafter::priors() const {
  std::vector<double> priors;
  for (int n = 1; n <= longest_; ++n) priors.push_back(std::min(0.7, 0.1 + 0.15 * n));
  return priors;
}

}  // namespace hone::generate
