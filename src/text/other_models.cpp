// The models beside BPE: Unigram (Kudo 2018, the most probable segmentation), WordPiece, WordLevel.
#include <algorithm>
#include <limits>

#include "text/pipeline.h"
#include "text/trie.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

constexpr size_t kMaxPiece = 4096;  // bounds the work per position

class Unigram final : public Model {
 public:
  explicit Unigram(const Doc& object) {
    const char* what = "model Unigram";
    const Doc& list = doc_array(object, "vocab", what);
    vocabulary_.reserve(list.size());
    double lowest = std::numeric_limits<double>::infinity();
    for (const Doc& entry : list) {
      if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
        fail(ErrorKind::kBadInput, "[tokenizer] {}: vocabulary entry {} is not [piece, score]", what, vocabulary_.size());
      const auto& piece = entry[0].get_ref<const std::string&>();
      if (piece.size() > kMaxPiece) fail(ErrorKind::kUnsupported, "[tokenizer] {}: a piece of {} bytes", what, piece.size());
      const auto id = static_cast<int32_t>(scores_.size());
      scores_.push_back(entry[1].get<double>());
      lowest = std::min(lowest, scores_.back());
      if (!piece.empty()) trie_.add(piece, id);
      vocabulary_.add(piece, id);
    }
    const int64_t id = doc_int_or(object, "unk_id", -1, what);
    if (id >= static_cast<int64_t>(scores_.size()) || id < -1) fail(ErrorKind::kBadInput, "[tokenizer] {}: unk_id {} is out of range", what, id);
    if (id >= 0) unknown = static_cast<TokenId>(id);
    unknown_score_ = (scores_.empty() ? 0.0 : lowest) - 10.0;
    bytes_.fill(-1);
    if (doc_bool_or(object, "byte_fallback", false, what)) {
      byte_fallback_ = true;
      for (int b = 0; b < 256; ++b) {
        const auto found = vocabulary_.find(byte_token(static_cast<uint8_t>(b)));
        bytes_[static_cast<size_t>(b)] = found.value_or(-1);
        byte_fallback_ = byte_fallback_ && found;
      }
    }
  }

  void tokenize(std::string_view piece, std::vector<TokenId>& ids) const override {
    if (piece.empty()) return;
    struct Node {
      double score = 0.0;
      size_t from = 0;
      int32_t id = -2;  // -2: not reached, -1: unknown
    };
    std::vector<Node> best(piece.size() + 1);
    best[0].id = 0;
    for (size_t at = 0; at < piece.size();) {
      const size_t character = decode_utf8(piece, at).length;
      bool single = false;
      const auto offer = [&](size_t end, double score, int32_t id) {
        Node& node = best[end];
        if (node.id == -2 || score > node.score) node = {score, at, id};
      };
      trie_.prefixes(piece, at, [&](size_t length, int32_t id) {
        offer(at + length, best[at].score + scores_[static_cast<size_t>(id)], id);
        single = single || length == character;
      });
      if (!single) offer(at + character, best[at].score + unknown_score_, -1);
      at += character;
    }
    std::vector<std::pair<Span, int32_t>> path;
    for (size_t end = piece.size(); end > 0; end = best[end].from) {
      const Span span{best[end].from, end};
      // Neighbouring unknowns are one piece.
      if (is_unknown(best[end].id) && !path.empty() && is_unknown(path.back().second)) path.back().first.begin = span.begin;
      else path.emplace_back(span, best[end].id);
    }
    std::reverse(path.begin(), path.end());
    for (const auto& [span, id] : path) emit(piece.substr(span.begin, span.size()), id, ids);
  }

 private:
  bool is_unknown(int32_t id) const { return id < 0 || (unknown && id == *unknown); }

  void emit(std::string_view text, int32_t id, std::vector<TokenId>& ids) const {
    if (!is_unknown(id)) {
      ids.push_back(id);
    } else if (const auto whole = vocabulary_.find(text); whole) {
      ids.push_back(*whole);  // fused unknowns that happen to spell a piece
    } else if (byte_fallback_) {
      for (const char c : text) ids.push_back(bytes_[static_cast<uint8_t>(c)]);
    } else if (unknown) {
      ids.push_back(*unknown);
    } else {
      fail(ErrorKind::kBadInput, "[tokenizer] the text has characters outside the vocabulary and the Unigram model has no unk_id");
    }
  }

  ByteTrie trie_;
  std::vector<double> scores_;
  double unknown_score_ = 0.0;
  bool byte_fallback_ = false;
  std::array<TokenId, 256> bytes_{};
};

void read_map(const Doc& object, const char* what, Vocabulary& vocabulary) {
  const Doc& vocab = doc_member(object, "vocab", what);
  if (!vocab.is_object()) fail(ErrorKind::kBadInput, "[tokenizer] {}: 'vocab' must be an object", what);
  std::vector<std::pair<int64_t, const std::string*>> order;
  for (auto it = vocab.begin(); it != vocab.end(); ++it) {
    if (!it->is_number_integer()) fail(ErrorKind::kBadInput, "[tokenizer] {}: the id of '{}' is not an integer", what, it.key());
    order.emplace_back(it->get<int64_t>(), &it.key());
  }
  std::sort(order.begin(), order.end());
  vocabulary.reserve(order.size());
  for (const auto& [id, piece] : order) vocabulary.add(*piece, id);
}

// Greedy longest match; a word with any unmatched rest, or of too many characters, is one unknown token.
class WordPiece final : public Model {
 public:
  explicit WordPiece(const Doc& object) {
    const char* what = "model WordPiece";
    read_map(object, what, vocabulary_);
    prefix_ = doc_string_or(object, "continuing_subword_prefix", "##", what);
    const int64_t limit = doc_int_or(object, "max_input_chars_per_word", 100, what);
    if (limit < 0 || limit > 10000) fail(ErrorKind::kUnsupported, "[tokenizer] {}: max_input_chars_per_word {}", what, limit);
    limit_ = static_cast<size_t>(limit);
    unknown = vocabulary_.find(doc_string_or(object, "unk_token", "[UNK]", what));
    for (TokenId id = 0; static_cast<size_t>(id) < vocabulary_.size(); ++id) {
      const std::string* piece = vocabulary_.piece(id);
      if (!piece || piece->empty() || vocabulary_.find(*piece) != id) continue;
      first_.add(*piece, id);
      if (piece->size() > prefix_.size() && piece->starts_with(prefix_)) rest_.add(std::string_view(*piece).substr(prefix_.size()), id);
    }
  }

  void tokenize(std::string_view piece, std::vector<TokenId>& ids) const override {
    const size_t before = ids.size();
    size_t characters = 0;
    for (size_t i = 0; i < piece.size() && characters <= limit_; ++characters) i += decode_utf8(piece, i).length;
    bool ok = characters <= limit_;
    for (size_t begin = 0; ok && begin < piece.size();) {
      int32_t id = ByteTrie::kNone;
      const size_t length = (begin > 0 ? rest_ : first_).longest(piece, begin, &id);
      ok = length > 0;
      if (ok) ids.push_back(id);
      begin += length;
    }
    if (ok) return;
    ids.resize(before);
    if (!unknown) fail(ErrorKind::kBadInput, "[tokenizer] the text needs the unknown token, which the WordPiece vocabulary lacks");
    ids.push_back(*unknown);
  }

 private:
  std::string prefix_;
  ByteTrie first_, rest_;  // pieces that begin a word, and those that go on with one, without their prefix
  size_t limit_ = 100;
};

class WordLevel final : public Model {
 public:
  explicit WordLevel(const Doc& object) {
    read_map(object, "model WordLevel", vocabulary_);
    unknown = vocabulary_.find(doc_string_or(object, "unk_token", "<unk>", "model WordLevel"));
  }
  void tokenize(std::string_view piece, std::vector<TokenId>& ids) const override {
    auto id = vocabulary_.find(piece);
    if (!id) id = unknown;
    if (!id) fail(ErrorKind::kBadInput, "[tokenizer] the text needs the unknown token, which the WordLevel vocabulary lacks");
    ids.push_back(*id);
  }
};

}  // namespace

std::unique_ptr<Model> make_unigram(const Doc& object) { return std::make_unique<Unigram>(object); }
std::unique_ptr<Model> make_word_piece(const Doc& object) { return std::make_unique<WordPiece>(object); }
std::unique_ptr<Model> make_word_level(const Doc& object) { return std::make_unique<WordLevel>(object); }

}  // namespace hone::text
