// SentencePiece's four models over normalized text: the arithmetic (float sums, order of comparison) is that
// of unigram_model.cc, word_model.cc and char_model.cc, so that ties fall the same way. BPE is in
// bpe_model.cpp.
#include <algorithm>
#include <limits>

#include "text/bpe.h"
#include "text/sentencepiece_model.h"
#include "text/trie.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

constexpr std::string_view kMark = "\xE2\x96\x81";

Vocabulary vocabulary_of(const SentencePieceModel& model) {
  Vocabulary vocabulary;
  vocabulary.reserve(model.pieces.size());
  for (size_t i = 0; i < model.pieces.size(); ++i) vocabulary.add(model.pieces[i], static_cast<int64_t>(i));
  return vocabulary;
}

// What all of them share: an unknown part becomes bytes or one unknown id for a run of such parts.
class PieceModel : public Model {
 public:
  explicit PieceModel(const SentencePieceModel& model)
      : types_(model.types), byte_fallback_(model.byte_fallback) {
    vocabulary_ = vocabulary_of(model);
    unknown = model.unknown;
    for (size_t i = 0; i < types_.size(); ++i)
      if (types_[i] == PieceType::kUserDefined) symbols_.add(model.pieces[i], static_cast<int32_t>(i));
    if (byte_fallback_)
      for (int b = 0; b < 256; ++b)
        bytes_[b] = vocabulary_.find(byte_token(static_cast<uint8_t>(b))).value_or(model.unknown);
  }

 protected:
  class Output {
   public:
    Output(const PieceModel& model, std::vector<TokenId>& ids) : model_(model), ids_(ids) {}
    void add(std::string_view text, TokenId id) {
      const bool missing = id == *model_.unknown;
      if (missing && model_.byte_fallback_) {
        for (const char c : text) ids_.push_back(model_.bytes_[static_cast<uint8_t>(c)]);
      } else if (!missing || !after_unknown_) {
        ids_.push_back(id);
      }
      after_unknown_ = missing;
    }

   private:
    const PieceModel& model_;
    std::vector<TokenId>& ids_;
    bool after_unknown_ = false;
  };

  TokenId id_of(std::string_view piece) const { return vocabulary_.find(piece).value_or(*unknown); }
  size_t symbol_length(std::string_view text, size_t at) const {
    const size_t n = symbols_.empty() ? 0 : symbols_.longest(text, at);
    return n ? n : decode_utf8(text, at).length;
  }

  std::vector<PieceType> types_;
  ByteTrie symbols_;  // user-defined

 private:
  bool byte_fallback_;
  TokenId bytes_[256] = {};
};

class UnigramPieces final : public PieceModel {
 public:
  explicit UnigramPieces(const SentencePieceModel& model) : PieceModel(model), scores_(model.scores) {
    float lowest = std::numeric_limits<float>::max();
    highest_ = std::numeric_limits<float>::min();
    for (size_t i = 0; i < types_.size(); ++i) {
      if (types_[i] == PieceType::kNormal) {
        lowest = std::min(lowest, scores_[i]);
        highest_ = std::max(highest_, scores_[i]);
      }
      if (types_[i] != PieceType::kNormal && types_[i] != PieceType::kUserDefined &&
          types_[i] != PieceType::kUnused)
        continue;
      trie_.add(model.pieces[i], static_cast<int32_t>(i));
    }
    unknown_score_ = lowest - 10.0f;
  }

  // The whole text at once: the package carries float sums from word to word, and their rounding decides
  // between segmentations of nearly equal score, so words cannot be encoded (and cached) alone.
  void tokenize(std::string_view text, std::vector<TokenId>& ids) const override {
    if (text.empty()) return;
    if (text.size() >= 0x7FFFFFFF)
      fail(ErrorKind::kResource, "[tokenizer] a text of {} bytes is too long", text.size());
    thread_local std::vector<Node> best;
    best.assign(text.size() + 1, Node{});
    for (size_t at = 0; at < text.size();) {
      const float till_here = best[at].score;
      const size_t character = decode_utf8(text, at).length;
      bool single = false;
      trie_.prefixes(text, at, [&](size_t length, int32_t id) {
        const PieceType type = types_[static_cast<size_t>(id)];
        if (type == PieceType::kUnused) return;
        const double score = type == PieceType::kUserDefined
                                 ? static_cast<float>(length) * highest_ - 0.1
                                 : static_cast<double>(scores_[static_cast<size_t>(id)]);
        offer(best[at + length], score + till_here, at, id);
        single = single || length == character;
      });
      if (!single) offer(best[at + character], static_cast<double>(unknown_score_ + till_here), at, *unknown);
      at += character;
    }
    thread_local std::vector<uint32_t> ends;
    ends.clear();
    for (size_t end = text.size(); end > 0; end = static_cast<size_t>(best[end].from))
      ends.push_back(static_cast<uint32_t>(end));
    Output out(*this, ids);
    for (size_t i = ends.size(); i-- > 0;) {
      const Node& node = best[ends[i]];
      const auto from = static_cast<size_t>(node.from);
      out.add(text.substr(from, ends[i] - from), node.id);
    }
    if (best.capacity() > (1u << 20)) best = {};
  }

 private:
  struct Node {
    float score = 0.0f;
    int32_t from = -1, id = -1;
  };
  static void offer(Node& node, double score, size_t from, int32_t id) {
    if (node.from != -1 && !(score > static_cast<double>(node.score))) return;
    node = {static_cast<float>(score), static_cast<int32_t>(from), id};
  }

  ByteTrie trie_;
  std::vector<float> scores_;
  float highest_, unknown_score_;
};

// Words between marks, each one piece or unknown.
class WordPieces final : public PieceModel {
 public:
  explicit WordPieces(const SentencePieceModel& model) : PieceModel(model) {}
  void tokenize(std::string_view text, std::vector<TokenId>& ids) const override {
    Output out(*this, ids);
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find(kMark, at + 1), text.size());
      out.add(text.substr(at, end - at), id_of(text.substr(at, end - at)));
      at = end;
    }
  }
};

class CharPieces final : public PieceModel {
 public:
  explicit CharPieces(const SentencePieceModel& model) : PieceModel(model) {}
  void tokenize(std::string_view text, std::vector<TokenId>& ids) const override {
    Output out(*this, ids);
    for (size_t at = 0; at < text.size();) {
      const size_t n = symbol_length(text, at);
      out.add(text.substr(at, n), id_of(text.substr(at, n)));
      at += n;
    }
  }
};

}  // namespace

std::unique_ptr<Model> make_sentencepiece_model(const SentencePieceModel& model) {
  using Kind = SentencePieceModel::Kind;
  switch (model.kind) {
    case Kind::kUnigram:
      return std::make_unique<UnigramPieces>(model);
    case Kind::kWord:
      return std::make_unique<WordPieces>(model);
    case Kind::kChar:
      return std::make_unique<CharPieces>(model);
    case Kind::kBpe:
      break;
  }
  std::vector<bool> mergeable(model.pieces.size()), unused(model.pieces.size());
  std::vector<TokenId> frozen;
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    const PieceType type = model.types[i];
    mergeable[i] =
        type == PieceType::kNormal || type == PieceType::kUserDefined || type == PieceType::kUnused;
    unused[i] = type == PieceType::kUnused;
    if (type == PieceType::kUserDefined) frozen.push_back(static_cast<TokenId>(i));
  }
  return make_bpe_from_scores(vocabulary_of(model), model.scores, mergeable, model.unknown,
                              {.byte_fallback = model.byte_fallback, .frozen = frozen, .unused = unused});
}

}  // namespace hone::text
