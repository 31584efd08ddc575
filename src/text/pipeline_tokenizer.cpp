#include "text/pipeline_tokenizer.h"

#include <algorithm>

#include "text/unicode.h"

namespace hone::text {
namespace {

// Markers that end an assistant's turn in published models.
constexpr const char* kEndMarkers[] = {
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "<|eot|>", "</s>",
    "<|end_of_turn|>", "<|END_OF_TURN_TOKEN|>", "<end_of_utterance>", "<turn|>", "<|return|>", "<|call|>", "<EOT>", "_<EOT>", "<|EOT|>",
    "<\xEF\xBD\x9C" "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>", "[e~[", "<|role_end|>",
};

constexpr size_t kCachedFrom = 2048;     // shorter texts repeat too few words to pay for a cache
constexpr size_t kMaxCachedPiece = 64;
constexpr size_t kMaxCacheEntries = 1 << 16;

// Ids of the pieces seen in one encode call: words repeat.
class PieceCache {
 public:
  explicit PieceCache(bool enabled) : slots_(enabled ? 1 << 12 : 0) {}
  template <typename Compute>
  void append(std::string_view piece, std::vector<TokenId>& out, Compute compute) {
    if (slots_.empty() || piece.size() > kMaxCachedPiece) return compute(piece, out);
    const size_t hash = std::hash<std::string_view>{}(piece);
    Slot* slot = find(piece, hash);
    if (slot->ids_begin != kFree) {
      out.insert(out.end(), ids_.begin() + slot->ids_begin, ids_.begin() + slot->ids_begin + slot->ids_count);
      return;
    }
    const size_t before = out.size();
    compute(piece, out);
    if (count_ >= kMaxCacheEntries) return;
    if (++count_ * 2 > slots_.size()) {
      grow();
      slot = find(piece, hash);
    }
    *slot = {hash, static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(piece.size()), static_cast<uint32_t>(ids_.size()),
             static_cast<uint32_t>(out.size() - before)};
    text_ += piece;
    ids_.insert(ids_.end(), out.begin() + static_cast<ptrdiff_t>(before), out.end());
  }

 private:
  static constexpr uint32_t kFree = 0xFFFFFFFFu;
  struct Slot {
    size_t hash = 0;
    uint32_t text_begin = 0, text_size = 0, ids_begin = kFree, ids_count = 0;
  };
  Slot* find(std::string_view piece, size_t hash) {
    const size_t mask = slots_.size() - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
      Slot& s = slots_[i];
      if (s.ids_begin == kFree) return &s;
      if (s.hash == hash && std::string_view(text_).substr(s.text_begin, s.text_size) == piece) return &s;
    }
  }
  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    const size_t mask = slots_.size() - 1;
    for (const Slot& s : old) {
      if (s.ids_begin == kFree) continue;
      size_t i = s.hash & mask;
      while (slots_[i].ids_begin != kFree) i = (i + 1) & mask;
      slots_[i] = s;
    }
  }
  std::vector<Slot> slots_;
  std::string text_;
  std::vector<TokenId> ids_;
  size_t count_ = 0;
};

class PipelineTokenizer final : public Tokenizer {
 public:
  explicit PipelineTokenizer(TokenizerParts parts) : parts_(std::move(parts)) {
    size_ = std::max(parts_.model->vocabulary().size(), parts_.minimum_size);
    for (const AddedToken& token : parts_.added) {
      std::string searched = token.content;
      if (token.normalized && parts_.normalizer) parts_.normalizer->apply(searched);
      (token.normalized ? normalized_ : raw_).add(token, searched);
      added_by_content_.emplace(token.content, token.id);
      // The package `tokenizers` shows and decodes a normalized token in its normalized form.
      added_by_id_.emplace(token.id, Shown{std::move(searched), token.special});
      size_ = std::max(size_, static_cast<size_t>(token.id) + 1);
    }
    if (parts_.post_processor)
      for (const TokenId id : parts_.post_processor->apply({}))
        if (static_cast<size_t>(id) >= size_)
          fail(ErrorKind::kBadInput, "[tokenizer] the post-processor adds token {}, but the vocabulary has {}", id, size_);
    bos = parts_.bos;
    eos = parts_.eos;
    find_end_of_turn();
  }

  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const override {
    start_regex_budget(text.size());
    std::string repaired;
    if (!is_valid_utf8(text)) text = repaired = to_valid_utf8(text);
    std::vector<TokenId> ids;
    PieceCache cache(text.size() >= kCachedFrom);
    for (const auto& part : split(raw_, text, options)) {
      if (part.id) ids.push_back(*part.id);
      else encode_plain(text.substr(part.span.begin, part.span.size()), part.span.begin == 0, options, cache, ids);
    }
    if (options.add_special && parts_.post_processor) ids = parts_.post_processor->apply(std::move(ids));
    return ids;
  }

  std::vector<TokenId> encode_pair(std::string_view first, std::string_view second, const EncodeOptions& options) const override {
    EncodeOptions alone = options;
    alone.add_special = false;
    std::vector<TokenId> a = encode(first, alone), b = encode(second, alone);
    if (options.add_special && parts_.post_processor) return parts_.post_processor->apply_pair(std::move(a), std::move(b));
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }

  std::string decode(const std::vector<TokenId>& ids, bool skip_special) const override {
    std::vector<std::string> tokens;
    tokens.reserve(ids.size());
    for (const TokenId id : ids) {
      if (skip_special && is_special(id)) continue;
      if (const std::string* p = find_piece(id)) tokens.push_back(*p);
    }
    std::string text;
    if (parts_.decoder) parts_.decoder->apply(tokens);
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0 && !parts_.decoder) text += ' ';
      text += tokens[i];
    }
    return to_valid_utf8(text);
  }

  std::string token_bytes(TokenId id, bool skip_special) const override {
    const std::string* p = find_piece(id);
    if (!p || (skip_special && is_special(id))) return {};
    std::string bytes = *p;
    if (parts_.decoder) parts_.decoder->apply_one(bytes);
    else bytes.insert(0, " ");
    return bytes;
  }

  std::string piece(TokenId id) const override {
    const std::string* p = find_piece(id);
    return p ? *p : std::string();
  }

  size_t vocab_size() const override { return size_; }

  std::optional<TokenId> find(std::string_view text) const override {
    if (const auto it = added_by_content_.find(text); it != added_by_content_.end()) return it->second;
    return parts_.model->vocabulary().find(text);
  }

  bool is_special(TokenId id) const override {
    const auto it = added_by_id_.find(id);
    return it != added_by_id_.end() && it->second.special;
  }

  VocabSpec to_vocab_spec() const override {
    if (parts_.spec && !parts_.spec->refusal.empty())
      fail(ErrorKind::kUnsupported, "[tokenizer] this tokenizer cannot be written to GGUF exactly: {}", parts_.spec->refusal);
    return parts_.spec ? whole_spec() : vocab_spec_from_json(parts_.tokenizer_json, parts_.config_json);
  }
  std::string to_tokenizer_json() const override {
    return parts_.spec ? json_from_vocab_spec(whole_spec()) : parts_.tokenizer_json;
  }

 private:
  VocabSpec whole_spec() const {
    VocabSpec spec = *parts_.spec;
    const Vocabulary& vocabulary = parts_.model->vocabulary();
    if (!spec.tokens.empty()) return spec;
    spec.tokens.reserve(vocabulary.size());
    for (size_t i = 0; i < vocabulary.size(); ++i) spec.tokens.push_back(*vocabulary.piece(static_cast<TokenId>(i)));
    return spec;
  }

  static std::vector<AddedTokenMatcher::Part> split(const AddedTokenMatcher& matcher, std::string_view text, const EncodeOptions& options) {
    if (text.empty()) return {};
    if (matcher.empty()) return {{{0, text.size()}, std::nullopt}};
    return matcher.split(text, !options.parse_special);
  }

  void encode_plain(std::string_view raw, bool at_start, const EncodeOptions& options, PieceCache& cache, std::vector<TokenId>& ids) const {
    std::string text(raw);
    if (parts_.normalizer) {
      parts_.normalizer->apply_part(text, at_start);
      check_growth(raw.size(), text.size());
    }
    for (const auto& part : split(normalized_, text, options)) {
      if (part.id) {
        ids.push_back(*part.id);
        continue;
      }
      Pieces pieces;
      const bool whole = part.span.size() == text.size();
      pieces.buffer = whole ? std::move(text) : text.substr(part.span.begin, part.span.size());
      pieces.spans = {{0, pieces.buffer.size()}};
      pieces.at_start = at_start && part.span.begin == 0;
      if (parts_.pre_tokenizer) {
        const size_t before = pieces.buffer.size();
        parts_.pre_tokenizer->apply(pieces);
        check_growth(before, pieces.buffer.size());
      }
      encode_pieces(pieces, cache, ids);
      if (whole) return;
    }
  }

  void encode_pieces(const Pieces& pieces, PieceCache& cache, std::vector<TokenId>& ids) const {
    const Model& model = *parts_.model;
    const auto compute = [&](std::string_view piece, std::vector<TokenId>& out) { model.tokenize(piece, out); };
    for (const Span& span : pieces.spans) {
      const std::string_view piece = pieces.text(span);
      for (size_t at = 0; at < piece.size();) {
        const size_t end = model.part_end(piece, at);
        cache.append(piece.substr(at, end - at), ids, compute);
        at = end;
      }
    }
  }

  const std::string* find_piece(TokenId id) const {
    if (const auto it = added_by_id_.find(id); it != added_by_id_.end()) return &it->second.text;
    return parts_.model->vocabulary().piece(id);
  }

  void find_end_of_turn() {
    const auto push = [&](std::optional<TokenId> id) {
      if (id && std::find(end_of_turn.begin(), end_of_turn.end(), *id) == end_of_turn.end()) end_of_turn.push_back(*id);
    };
    push(eos);
    push(parts_.eot);
    for (const char* marker : kEndMarkers)
      if (const auto id = find(marker); id && added_by_id_.contains(*id)) push(id);
  }

  TokenizerParts parts_;
  AddedTokenMatcher raw_, normalized_;
  struct Shown {
    std::string text;
    bool special;
  };
  std::unordered_map<TokenId, Shown> added_by_id_;
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  std::unordered_map<std::string, TokenId, Hash, std::equal_to<>> added_by_content_;
  size_t size_ = 0;
};

}  // namespace

std::vector<TokenId> Tokenizer::encode_pair(std::string_view, std::string_view, const EncodeOptions&) const {
  fail(ErrorKind::kUnsupported, "[tokenizer] this tokenizer does not encode two texts");
}

std::unique_ptr<Tokenizer> make_pipeline_tokenizer(TokenizerParts parts) { return std::make_unique<PipelineTokenizer>(std::move(parts)); }

std::optional<std::string> config_token(const Doc& config, const char* key) {
  const Doc* value = doc_find(config, key);
  if (value && value->is_object()) value = doc_find(*value, "content");
  if (!value || !value->is_string()) return std::nullopt;
  return value->get<std::string>();
}

std::string StreamDecoder::push(TokenId id) {
  std::string bytes = tokenizer_.token_bytes(id, skip_);
  if (!continuation_ && first_) {
    // How many of the first spaces stay is known once something else follows: the whole decoder says it.
    head_.push_back(id);
    const size_t spaces = std::min(bytes.find_first_not_of(' '), bytes.size());
    first_spaces_ += spaces;
    if (spaces == bytes.size()) return {};
    const std::string text = tokenizer_.decode(head_, skip_);
    const size_t kept = std::min(text.find_first_not_of(' '), text.size());
    bytes.replace(0, spaces, std::min(kept, first_spaces_), ' ');
    first_ = false;
    head_.clear();
  }
  pending_ += bytes;
  const size_t tail = incomplete_tail(pending_);
  std::string ready = to_valid_utf8(std::string_view(pending_).substr(0, pending_.size() - tail));
  pending_.erase(0, pending_.size() - tail);
  return ready;
}

std::string StreamDecoder::finish() {
  std::string rest = head_.empty() ? to_valid_utf8(pending_) : tokenizer_.decode(head_, skip_);
  pending_.clear();
  head_.clear();
  return rest;
}

}  // namespace hone::text
