// The stages of a tokenizer: normalizer -> pre-tokenizer -> model -> post-processor, and the decoder chain.
// One small class per component of the tokenizer.json schema; make_* builds one from its JSON object.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/document.h"
#include "text/regex.h"
#include "text/tokenizer.h"

namespace hone::text {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(std::string& text) const = 0;  // valid UTF-8 in and out
  // The same for one part of a text between added tokens; at_start: the first part.
  virtual void apply_part(std::string& text, bool at_start) const {
    (void)at_start;
    apply(text);
  }
};
std::unique_ptr<Normalizer> make_normalizer(const Doc& object);
std::unique_ptr<Normalizer> make_precompiled(const Doc& object);  // precompiled.cpp

// Text being cut: pieces are spans of one buffer, in order.
struct Pieces {
  std::string buffer;
  std::vector<Span> spans;
  bool at_start = false;  // the buffer begins where the whole text begins
  std::string_view text(const Span& s) const { return std::string_view(buffer).substr(s.begin, s.size()); }
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Pieces& pieces) const = 0;
};
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Doc& object);

// Splits every piece at the regular expressions in turn, then writes bytes in the byte alphabet.
std::unique_ptr<PreTokenizer> make_byte_level_splits(const std::vector<std::string>& regexes);
extern const char* const kGpt2Pattern;

// Pieces of the vocabulary by id (with holes) and back.
class Vocabulary {
 public:
  // Error(kBadInput) for a negative or repeated id, or one far beyond the number of pieces.
  void add(std::string piece, int64_t id);
  void reserve(size_t pieces);
  void set(TokenId id, std::string piece);  // may fill a hole or extend
  std::optional<TokenId> find(std::string_view piece) const;
  const std::string* piece(TokenId id) const;  // null for holes and ids out of range
  size_t size() const { return pieces_.size(); }
  size_t count() const { return count_; }

 private:
  // Open addressing over the ids: the texts are in pieces_ alone, and a miss costs one cache line.
  struct Slot {
    uint32_t tag = 0;  // upper half of the hash
    TokenId id = -1;
  };
  static uint64_t hash_of(std::string_view piece);
  size_t probe(std::string_view piece, uint64_t hash) const;  // where the piece is or belongs
  void grow(size_t count);
  std::vector<std::string> pieces_;
  std::vector<bool> present_;
  std::vector<Slot> slots_;
  size_t count_ = 0;  // distinct pieces
};

class Model {
 public:
  virtual ~Model() = default;
  // Appends the ids of one piece.
  virtual void tokenize(std::string_view piece, std::vector<TokenId>& ids) const = 0;
  // Where the model treats a piece as a sequence of independent parts, the end of the part that begins at
  // `from`; each part can then be cached. The default is the whole piece.
  virtual size_t part_end(std::string_view piece, size_t from) const {
    (void)from;
    return piece.size();
  }
  const Vocabulary& vocabulary() const { return vocabulary_; }
  std::optional<TokenId> unknown;

 protected:
  Vocabulary vocabulary_;
};
std::unique_ptr<Model> make_model(const Doc& object);  // models.cpp, by type
std::unique_ptr<Model> make_bpe(const Doc& object);
std::unique_ptr<Model> make_unigram(const Doc& object);
std::unique_ptr<Model> make_word_piece(const Doc& object);
std::unique_ptr<Model> make_word_level(const Doc& object);

class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  virtual std::vector<TokenId> apply(std::vector<TokenId> ids) const = 0;
  virtual std::vector<TokenId> apply_pair(std::vector<TokenId> first, std::vector<TokenId> second) const = 0;
  virtual bool is_identity() const = 0;
};
std::unique_ptr<PostProcessor> make_post_processor(const Doc& object);
std::unique_ptr<PostProcessor> make_affixes(std::vector<TokenId> before, std::vector<TokenId> after);

class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual void apply(std::vector<std::string>& tokens) const = 0;
  // The bytes one token adds in the middle of a text, in place; rules for the ends of a text do not apply.
  virtual void apply_one(std::string& token) const = 0;
};
std::unique_ptr<Decoder> make_decoder(const Doc& object);

// A token that is found in the text before the model runs.
struct AddedToken {
  std::string content;
  TokenId id = 0;
  bool single_word = false, lstrip = false, rstrip = false, normalized = false, special = false;
};

// Finds added tokens in a text, leftmost-longest, with their flags.
class AddedTokenMatcher {
 public:
  struct Part {
    Span span;
    std::optional<TokenId> id;  // none: text between tokens
  };
  // Error(kUnsupported) for contents longer than 4096 bytes: the search is linear times the longest.
  void add(const AddedToken& token, const std::string& as_searched);
  bool empty() const { return tokens_.empty(); }
  std::vector<Part> split(std::string_view text, bool skip_special) const;

 private:
  struct Node {
    int32_t token = -1;  // index in tokens_
    std::vector<std::pair<uint8_t, int32_t>> next;
  };
  struct Match {
    size_t end = 0;
    int32_t token = -1;
  };
  Match longest_at(std::string_view text, size_t at) const;
  std::vector<Node> nodes_{Node{}};
  std::vector<AddedToken> tokens_;
  bool starts_[256] = {};
};

// A tokenizer.json must not make a text grow without bound. Error(kBadInput).
void check_growth(size_t before, size_t after);
// Every occurrence of `from` (not empty) becomes `to`.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);

}  // namespace hone::text
