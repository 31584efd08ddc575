// Prompt lookup decoding (Saxena 2023): what followed the last few tokens when they stood in the text before.
#pragma once

#include <unordered_map>

#include "generate/speculation.h"

namespace hone::generate {

class NgramDrafter : public Drafter {
 public:
  // Suffixes of `longest` down to 1 tokens are looked up. Kinds: length of the suffix that was found, less
  // one.
  explicit NgramDrafter(int longest = 4);

  // The longest suffix that occurred before, its most recent occurrence. Only tokens that are new since the
  // last look are indexed; a history that was cut back or changed is indexed anew.
  int look(std::span<const text::TokenId> history) override;
  // What followed there; behind the end of the history it goes on into the draft itself, as periods do.
  void extend(int most, Draft& draft) override;
  std::vector<double> priors() const override;
  bool costless() const override { return true; }

 private:
  // Hash of the n tokens before `end`; length and tokens enter.
  uint64_t key(size_t end, int n) const;
  bool same_before(size_t a, size_t b, int n) const;
  void index(size_t end);  // suffixes that end before `end`, which a token now follows

  int longest_;
  std::vector<text::TokenId> text_;
  size_t indexed_ = 0;                            // ends below this are in the index
  std::unordered_map<uint64_t, int32_t> follow_;  // suffix -> where it was last followed by a token
  size_t source_ = 0;                             // of the draft
};

}  // namespace hone::generate
