// The BPE model: pieces to symbols, merges, symbols to ids.
#include <algorithm>
#include <array>
#include <limits>
#include <tuple>

#include "base/log.h"
#include "text/bpe.h"
#include "text/trie.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

class Bpe final : public Model {
 public:
  Bpe(Vocabulary vocabulary, BpeOptions options, std::optional<TokenId> unknown_id) : options_(std::move(options)) {
    vocabulary_ = std::move(vocabulary);
    unknown = unknown_id;
    complete_bytes_ = true;
    for (int b = 0; b < 256; ++b) {
      const auto id = vocabulary_.find(byte_token(static_cast<uint8_t>(b)));
      bytes_[static_cast<size_t>(b)] = id.value_or(-1);
      complete_bytes_ = complete_bytes_ && id;
    }
  }

  void set_score_options(const ScoreOptions& options) {
    options_.byte_fallback = options.byte_fallback;
    for (const TokenId id : options.frozen) {
      const std::string& piece = *vocabulary_.piece(id);
      frozen_.add(piece, id);
      whole_text_ = whole_text_ || has_inner_mark(piece);
    }
    if (std::find(options.unused.begin(), options.unused.end(), true) != options.unused.end()) {
      unused_ = options.unused;
      whole_text_ = true;  // how a step was last made is remembered across words
    }
  }

  void set_scores(std::vector<float> scores, std::vector<bool> mergeable) {
    score_merges_.emplace(vocabulary_, std::move(scores), std::move(mergeable));
    splits_at_marks_ = vocabulary_.find(kSpaceMark) && !whole_text_;
    for (size_t i = 0; i < vocabulary_.size() && splits_at_marks_; ++i) {
      const auto id = static_cast<TokenId>(i);
      const std::string* piece = vocabulary_.piece(id);
      // A quick search first: few tokens have a mark behind their first character.
      if (piece && piece->find(kSpaceMark, 1) != std::string::npos && has_inner_mark(*piece)) splits_at_marks_ = !score_merges_->is_result(id);
    }
    build_character_table();
  }

  void set_merges(const std::vector<Merge>& merges) {
    table_.reserve(merges.size());
    splits_at_marks_ = vocabulary_.find(kSpaceMark) && options_.prefix.empty() && options_.suffix.empty() && !options_.ignore_merges && !whole_text_;
    for (const Merge& m : merges) {
      table_.insert(m.left, m.right, m.rank, m.result);
      if (const std::string* result = vocabulary_.piece(static_cast<TokenId>(m.result)); result && splits_at_marks_)
        splits_at_marks_ = !has_inner_mark(*result);
    }
    build_character_table();
  }

  // No merge result holds a space mark after another character, so nothing ever merges across that border
  // and the words can be encoded (and cached) alone.
  size_t part_end(std::string_view piece, size_t from) const override {
    if (!splits_at_marks_) return piece.size();
    size_t at = from;
    while (piece.substr(at).starts_with(kSpaceMark)) at += kSpaceMark.size();
    return std::min(piece.find(kSpaceMark, at), piece.size());
  }

  void tokenize(std::string_view piece, std::vector<TokenId>& ids) const override {
    if (piece.empty()) return;
    if (piece.size() >= std::numeric_limits<uint32_t>::max()) fail(ErrorKind::kResource, "[tokenizer] a text of {} bytes is too long", piece.size());
    if (options_.ignore_merges) {
      if (const auto id = vocabulary_.find(piece)) {
        ids.push_back(*id);
        return;
      }
    }
    thread_local std::vector<Symbol> symbols;
    symbols.clear();
    to_symbols(piece, symbols);
    if (unused_.empty()) {
      merge(symbols, nullptr);
    } else {
      Steps steps{&unused_, {}};
      merge(symbols, &steps);
      take_apart(piece, steps, symbols);
    }
    bool after_unknown = false;
    for (const Symbol& s : symbols) {
      const uint32_t id = s.id & kFrozen && s.id != kNoSymbol ? s.id & ~kFrozen : s.id;
      if (id < vocabulary_.size()) {
        ids.push_back(static_cast<TokenId>(id));
        after_unknown = false;
      } else {
        unmerged(piece.substr(s.begin, s.size), after_unknown, ids);
      }
    }
    if (symbols.capacity() > (1u << 20)) symbols = {};
  }

 private:
  void merge(std::vector<Symbol>& symbols, Steps* steps) const {
    if (score_merges_) merge_symbols(*score_merges_, symbols, steps);
    else merge_symbols(table_, symbols, steps);
  }

  static bool has_inner_mark(std::string_view token) {
    bool other = false;
    for (size_t i = 0; i < token.size();) {
      const bool mark = token.substr(i).starts_with(kSpaceMark);
      if (mark && other) return true;
      other = other || !mark;
      i += mark ? kSpaceMark.size() : 1;
    }
    return false;
  }

  void build_character_table() {
    characters_.fill(kNoSymbol);
    for (uint32_t c = 0; c < characters_.size(); ++c) {
      std::string text;
      append_utf8(text, c);
      characters_[c] = find_symbol(text);
    }
  }

  uint32_t find_symbol(std::string_view text) const {
    if (const auto id = vocabulary_.find(text)) return static_cast<uint32_t>(*id);
    if (!score_merges_) return kNoSymbol;
    const Decoded d = decode_utf8(text, 0);
    return d.valid && d.length == text.size() ? ScoreMerges::character(d.code_point) : kNoSymbol;
  }

  uint32_t symbol_of(std::string_view piece, size_t begin, const Decoded& d) const {
    const bool first = begin == 0, last = begin + d.length == piece.size();
    if ((first || options_.prefix.empty()) && (!last || options_.suffix.empty())) {
      if (d.valid && d.code_point < characters_.size()) return characters_[d.code_point];
      return find_symbol(piece.substr(begin, d.length));
    }
    std::string text(piece.substr(begin, d.length));
    if (!first) text.insert(0, options_.prefix);
    if (last) text += options_.suffix;
    return find_symbol(text);
  }

  void to_symbols(std::string_view piece, std::vector<Symbol>& symbols) const {
    std::optional<Symbol> pending;  // an unknown that may still grow (fuse_unk)
    for (size_t i = 0; i < piece.size();) {
      int32_t frozen = 0;
      if (const size_t n = frozen_.empty() ? 0 : frozen_.longest(piece, i, &frozen); n) {
        symbols.push_back({static_cast<uint32_t>(frozen) | kFrozen, static_cast<uint32_t>(i), static_cast<uint32_t>(n)});
        i += n;
        continue;
      }
      const Decoded d = decode_utf8(piece, i);
      const auto begin = static_cast<uint32_t>(i);
      const uint32_t id = symbol_of(piece, i, d);
      i += d.length;
      if (id != kNoSymbol || options_.bytes_after_merging) {
        if (pending) symbols.push_back(*pending);
        pending.reset();
        symbols.push_back({id, begin, d.length});
      } else if (options_.byte_fallback && has_bytes(piece.substr(begin, d.length))) {
        for (uint32_t b = 0; b < d.length; ++b)
          symbols.push_back({static_cast<uint32_t>(bytes_[static_cast<uint8_t>(piece[begin + b])]), begin + b, 1});
      } else if (unknown) {
        if (pending && options_.fuse_unknown) {
          pending->size += d.length;
        } else {
          if (pending) symbols.push_back(*pending);
          pending = Symbol{static_cast<uint32_t>(*unknown), begin, d.length};
        }
      }
    }
    if (pending) symbols.push_back(*pending);
  }

  bool has_bytes(std::string_view text) const {
    return complete_bytes_ || std::all_of(text.begin(), text.end(), [&](char c) { return bytes_[static_cast<uint8_t>(c)] >= 0; });
  }

  // A symbol that is no token (SentencePiece): its bytes, or one unknown token for a run of them.
  void unmerged(std::string_view text, bool& after_unknown, std::vector<TokenId>& ids) const {
    if (options_.byte_fallback && has_bytes(text)) {
      for (const char c : text) ids.push_back(bytes_[static_cast<uint8_t>(c)]);
      after_unknown = false;
    } else if (unknown) {
      if (!after_unknown) ids.push_back(*unknown);
      after_unknown = true;
    }
  }

  // Replaces symbols of the type UNUSED by what they were made of.
  void take_apart(std::string_view piece, const Steps& steps, std::vector<Symbol>& symbols) const {
    std::vector<Symbol> out, stack;
    for (const Symbol& s : symbols) {
      stack.push_back(s);
      while (!stack.empty()) {
        const Symbol top = stack.back();
        stack.pop_back();
        const auto it = steps.parts.find(top.id);
        if (it == steps.parts.end()) {
          out.push_back(top);
          continue;
        }
        const auto [left, right] = it->second;
        const std::string* text = vocabulary_.piece(static_cast<TokenId>(left));
        const uint32_t size = text && left < vocabulary_.size() ? static_cast<uint32_t>(text->size())
                                                                : decode_utf8(piece, top.begin).length;
        stack.push_back({right, top.begin + size, top.size - size});
        stack.push_back({left, top.begin, size});
      }
    }
    symbols = std::move(out);
  }

  BpeOptions options_;
  MergeTable table_;
  std::array<TokenId, 256> bytes_{};
  std::array<uint32_t, 0x250> characters_{};  // symbols of the most common characters
  std::optional<ScoreMerges> score_merges_;  // instead of table_
  ByteTrie frozen_;
  std::vector<bool> unused_;
  bool complete_bytes_ = false, splits_at_marks_ = false, whole_text_ = false;
};

uint32_t known(const Vocabulary& vocabulary, std::string_view piece, size_t rank) {
  const auto id = vocabulary.find(piece);
  if (!id) fail(ErrorKind::kBadInput, "[tokenizer] merge {} uses '{}', which is not in the vocabulary", rank, piece);
  return static_cast<uint32_t>(*id);
}

std::pair<std::string_view, std::string_view> split_merge(std::string_view text, size_t rank) {
  // A part may begin with the separator in hostile files only; the alphabet has no space.
  const size_t space = text.find(' ', 1);
  if (space == std::string_view::npos || space + 1 == text.size())
    fail(ErrorKind::kBadInput, "[tokenizer] merge {} ('{}') is not two pieces", rank, text);
  return {text.substr(0, space), text.substr(space + 1)};
}

Vocabulary read_vocabulary(const Doc& object, const char* what) {
  const Doc& vocab = doc_member(object, "vocab", what);
  if (!vocab.is_object()) fail(ErrorKind::kBadInput, "[tokenizer] {}: 'vocab' must be an object", what);
  std::vector<std::pair<int64_t, const std::string*>> order;
  order.reserve(vocab.size());
  for (auto it = vocab.begin(); it != vocab.end(); ++it) {
    if (!it->is_number_integer()) fail(ErrorKind::kBadInput, "[tokenizer] {}: the id of '{}' is not an integer", what, it.key());
    order.emplace_back(it->get<int64_t>(), &it.key());
  }
  std::sort(order.begin(), order.end());
  Vocabulary result;
  result.reserve(order.size());
  for (const auto& [id, piece] : order) result.add(*piece, id);
  return result;
}

}  // namespace

std::unique_ptr<Model> make_bpe(const Doc& object) {
  const char* what = "model BPE";
  BpeOptions options;
  options.prefix = doc_string_or(object, "continuing_subword_prefix", "", what);
  options.suffix = doc_string_or(object, "end_of_word_suffix", "", what);
  options.fuse_unknown = doc_bool_or(object, "fuse_unk", false, what);
  options.byte_fallback = doc_bool_or(object, "byte_fallback", false, what);
  options.ignore_merges = doc_bool_or(object, "ignore_merges", false, what);
  Vocabulary vocabulary = read_vocabulary(object, what);
  std::vector<Merge> merges;
  const Doc& list = doc_array(object, "merges", what);
  merges.reserve(list.size());
  for (const Doc& entry : list) {
    const size_t rank = merges.size();
    std::string_view left, right;
    if (entry.is_string()) {
      std::tie(left, right) = split_merge(entry.get_ref<const std::string&>(), rank);
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      left = entry[0].get_ref<const std::string&>();
      right = entry[1].get_ref<const std::string&>();
    } else {
      fail(ErrorKind::kBadInput, "[tokenizer] merge {} is neither a string nor a pair of strings", rank);
    }
    if (right.size() < options.prefix.size()) fail(ErrorKind::kBadInput, "[tokenizer] merge {} is shorter than the subword prefix", rank);
    const std::string joined = std::string(left) + std::string(right.substr(options.prefix.size()));
    merges.push_back({known(vocabulary, left, rank), known(vocabulary, right, rank), static_cast<uint32_t>(rank), known(vocabulary, joined, rank)});
  }
  std::optional<TokenId> unknown;
  if (const Doc* name = doc_find(object, "unk_token"); name && name->is_string()) unknown = vocabulary.find(name->get<std::string>());
  auto model = std::make_unique<Bpe>(std::move(vocabulary), std::move(options), unknown);
  model->set_merges(merges);
  return model;
}

std::unique_ptr<Model> make_bpe_from_merges(Vocabulary vocabulary, const std::vector<std::string>& list, const BpeOptions& options) {
  std::vector<Merge> merges;
  merges.reserve(list.size());
  size_t skipped = 0;
  for (size_t rank = 0; rank < list.size(); ++rank) {
    const auto [left, right] = split_merge(list[rank], rank);
    const auto l = vocabulary.find(left), r = vocabulary.find(right), joined = vocabulary.find(std::string(left) + std::string(right));
    if (l && r && joined) merges.push_back({static_cast<uint32_t>(*l), static_cast<uint32_t>(*r), static_cast<uint32_t>(rank), static_cast<uint32_t>(*joined)});
    else ++skipped;
  }
  if (skipped) logger().warn("[tokenizer] {} of {} merges name pieces that are not in the vocabulary; ignored", skipped, list.size());
  auto model = std::make_unique<Bpe>(std::move(vocabulary), options, std::nullopt);
  model->set_merges(merges);
  return model;
}

std::unique_ptr<Model> make_bpe_from_scores(Vocabulary vocabulary, std::vector<float> scores, std::vector<bool> mergeable,
                                            std::optional<TokenId> unknown, const ScoreOptions& score_options) {
  BpeOptions options;
  options.byte_fallback = true;
  options.fuse_unknown = true;
  options.bytes_after_merging = true;
  auto model = std::make_unique<Bpe>(std::move(vocabulary), options, unknown);
  model->set_score_options(score_options);
  model->set_scores(std::move(scores), std::move(mergeable));
  return model;
}

}  // namespace hone::text
