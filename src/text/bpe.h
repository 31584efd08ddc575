// Byte-pair encoding over symbol ids: one engine for merge lists (GPT-2, Llama 3) and for SentencePiece
// scores. A pair of symbols has a rank (lower merges first; equal ranks leftmost first) and a result.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/pipeline.h"

namespace hone::text {

// (left, right) -> (rank, result): open addressing, read-only after building.
class MergeTable {
 public:
  struct Entry {
    uint32_t left = kEmpty, right = kEmpty;
    uint32_t rank = 0, result = 0;
  };
  void reserve(size_t pairs);
  // Keeps the lower rank when the pair is there already.
  void insert(uint32_t left, uint32_t right, uint32_t rank, uint32_t result);
  const Entry* find(uint32_t left, uint32_t right) const;
  size_t size() const { return count_; }

 private:
  static constexpr uint32_t kEmpty = 0xFFFFFFFFu;
  size_t slot(uint32_t left, uint32_t right) const;
  void grow();
  std::vector<Entry> entries_;
  size_t count_ = 0;
};

// SentencePiece's rule as pairs: two symbols merge when their joined text is a token, the highest score first
// (equal ranks for equal scores). Looked up when asked: a table of all pairs would cost more to build than a
// short prompt takes (Gemma: 262,144 tokens, a million pairs).
class ScoreMerges {
 public:
  // All outlive the object. mergeable (by id) leaves out control, unknown and byte tokens.
  ScoreMerges(const Vocabulary& vocabulary, std::vector<float> scores, std::vector<bool> mergeable);
  std::optional<MergeTable::Entry> find(uint32_t left, uint32_t right) const;
  // The symbol of a character that is no token; it may be a part of one.
  static uint32_t character(uint32_t code_point) { return kCharacter | code_point; }
  // Whether the token is the result of some pair.
  bool is_result(TokenId id) const;

 private:
  static constexpr uint32_t kCharacter = 0x40000000u;
  std::string_view text_of(uint32_t symbol, char (&buffer)[4]) const;
  bool usable(TokenId id) const { return static_cast<size_t>(id) < mergeable_.size() && mergeable_[static_cast<size_t>(id)]; }
  const Vocabulary& vocabulary_;
  std::vector<float> scores_;
  std::vector<bool> mergeable_;
};

struct Symbol {
  uint32_t id;           // kNoSymbol: never merges
  uint32_t begin, size;  // bytes of the piece
};
inline constexpr uint32_t kNoSymbol = 0xFFFFFFFEu;
// Set in the id of a symbol that is a token already and never merges (SentencePiece's user-defined symbols).
inline constexpr uint32_t kFrozen = 0x80000000u;

// How pieces that may only be steps (SentencePiece's type UNUSED) were last put together: symbol -> its parts.
struct Steps {
  const std::vector<bool>* unused = nullptr;  // by id
  std::unordered_map<uint32_t, std::pair<uint32_t, uint32_t>> parts;
};

// Merges until no pair is left; symbols is compacted in place. O(n log n). steps may be null.
void merge_symbols(const MergeTable& table, std::vector<Symbol>& symbols, Steps* steps = nullptr);
void merge_symbols(const ScoreMerges& merges, std::vector<Symbol>& symbols, Steps* steps = nullptr);

// The model of tokenizer.json and of GGUF: see make_bpe and the two functions below.
struct BpeOptions {
  std::string prefix, suffix;  // continuing_subword_prefix, end_of_word_suffix
  bool fuse_unknown = false, byte_fallback = false, ignore_merges = false;
  // Characters that are no token stay symbols while merging and become bytes afterwards (SentencePiece);
  // otherwise bytes take part in the merges (tokenizer.json).
  bool bytes_after_merging = false;
};

struct Merge {
  uint32_t left, right, rank, result;
};

// GGUF "gpt2": merges "left right" in rank order.
std::unique_ptr<Model> make_bpe_from_merges(Vocabulary vocabulary, const std::vector<std::string>& merges, const BpeOptions& options);

// Every way to build each token in two parts, ranked by descending score: ScoreMerges written out, for
// exports. Characters that occur in tokens without being one get symbol ids from vocabulary.size() on;
// they are appended to extra_characters. `mergeable` (by id) leaves out control, unknown and byte tokens.
std::vector<Merge> merges_from_scores(const Vocabulary& vocabulary, const std::vector<float>& scores,
                                      const std::vector<bool>& mergeable, std::vector<std::string>& extra_characters);
struct ScoreOptions {
  bool byte_fallback = true;     // where the vocabulary has the bytes of a character
  std::vector<TokenId> frozen;   // found before anything is merged, longest first; never part of a merge
  std::vector<bool> unused;      // by id: taken apart again after merging; empty: none
};
std::unique_ptr<Model> make_bpe_from_scores(Vocabulary vocabulary, std::vector<float> scores, std::vector<bool> mergeable,
                                            std::optional<TokenId> unknown, const ScoreOptions& options = {});

}  // namespace hone::text
