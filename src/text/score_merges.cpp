// Merges by score (SentencePiece): looked up as texts in the vocabulary, or written out as a list for exports.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "text/bpe.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

constexpr size_t kMaxToken = 256;  // longer pieces do not occur; bounds a hostile file's work

// Lower for higher scores, equal for equal ones.
uint32_t rank_of(float score) {
  if (std::isnan(score)) score = -std::numeric_limits<float>::infinity();
  const auto bits = std::bit_cast<uint32_t>(score + 0.0f);  // -0 becomes 0
  return bits >> 31 ? bits : ~(bits | 0x80000000u);
}

}  // namespace

ScoreMerges::ScoreMerges(const Vocabulary& vocabulary, std::vector<float> scores, std::vector<bool> mergeable)
    : vocabulary_(vocabulary), scores_(std::move(scores)), mergeable_(std::move(mergeable)) {
  HONE_CHECK(scores_.size() >= mergeable_.size());
  if (vocabulary.size() >= kCharacter) fail(ErrorKind::kUnsupported, "[tokenizer] the vocabulary has {} tokens", vocabulary.size());
}

std::string_view ScoreMerges::text_of(uint32_t symbol, char (&buffer)[4]) const {
  if (symbol < vocabulary_.size()) {
    const std::string* piece = vocabulary_.piece(static_cast<TokenId>(symbol));
    return piece ? std::string_view(*piece) : std::string_view();
  }
  if (symbol < kCharacter || symbol - kCharacter > 0x10FFFF) return {};
  const uint32_t c = symbol - kCharacter;
  const auto byte = [](uint32_t bits) { return static_cast<char>(bits); };
  if (c < 0x80) {
    buffer[0] = byte(c);
    return {buffer, 1};
  }
  const size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (size_t i = 1; i < length; ++i) buffer[i] = byte(0x80 | (c >> 6 * (length - 1 - i) & 0x3F));
  buffer[0] = byte((0xF00u >> length & 0xFF) | c >> 6 * (length - 1));
  return {buffer, length};
}

std::optional<MergeTable::Entry> ScoreMerges::find(uint32_t left, uint32_t right) const {
  char left_buffer[4], right_buffer[4], joined[kMaxToken];
  const std::string_view l = text_of(left, left_buffer), r = text_of(right, right_buffer);
  if (l.empty() || r.empty() || l.size() + r.size() > kMaxToken) return std::nullopt;
  std::memcpy(joined, l.data(), l.size());
  std::memcpy(joined + l.size(), r.data(), r.size());
  const auto id = vocabulary_.find({joined, l.size() + r.size()});
  if (!id || !usable(*id)) return std::nullopt;
  return MergeTable::Entry{left, right, rank_of(scores_[static_cast<size_t>(*id)]), static_cast<uint32_t>(*id)};
}

bool ScoreMerges::is_result(TokenId id) const {
  const std::string* token = vocabulary_.piece(id);
  if (!token || !usable(id) || vocabulary_.find(*token) != id || token->size() > kMaxToken) return false;
  const size_t first = token->empty() ? 0 : decode_utf8(*token, 0).length;
  const auto part = [&](std::string_view text, bool single) {
    const auto found = vocabulary_.find(text);
    return single || (found && usable(*found));
  };
  for (size_t at = first; at < token->size();) {
    const std::string_view left = std::string_view(*token).substr(0, at), right = std::string_view(*token).substr(at);
    const size_t length = decode_utf8(*token, at).length;
    if (part(left, at == first) && part(right, length == right.size())) return true;
    at += length;
  }
  return false;
}

std::vector<Merge> merges_from_scores(const Vocabulary& vocabulary, const std::vector<float>& scores, const std::vector<bool>& mergeable,
                                      std::vector<std::string>& extra_characters) {
  const auto usable = [&](TokenId id) { return static_cast<size_t>(id) < mergeable.size() && mergeable[static_cast<size_t>(id)]; };
  // Rank 0 is the best score; equal scores share a rank, so that the leftmost pair goes first.
  std::vector<TokenId> order;
  for (size_t i = 0; i < vocabulary.size(); ++i)
    if (usable(static_cast<TokenId>(i)) && vocabulary.piece(static_cast<TokenId>(i))) order.push_back(static_cast<TokenId>(i));
  std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) { return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)]; });

  std::unordered_map<std::string, uint32_t> extra;
  std::vector<Merge> merges;
  uint32_t rank = 0;
  for (size_t n = 0; n < order.size(); ++n) {
    if (n > 0 && scores[static_cast<size_t>(order[n])] != scores[static_cast<size_t>(order[n - 1])]) ++rank;
    const std::string& token = *vocabulary.piece(order[n]);
    if (vocabulary.find(token) != order[n]) continue;  // a later copy of the same text
    if (token.size() < 2 || token.size() > kMaxToken) continue;
    const size_t first = decode_utf8(token, 0).length;
    for (size_t at = first; at < token.size();) {
      const Decoded d = decode_utf8(token, at);
      const auto symbol = [&](std::string_view part, bool single) -> uint32_t {
        if (const auto id = vocabulary.find(part)) return usable(*id) || single ? static_cast<uint32_t>(*id) : kNoSymbol;
        if (!single) return kNoSymbol;
        const auto [it, fresh] = extra.emplace(std::string(part), static_cast<uint32_t>(vocabulary.size() + extra_characters.size()));
        if (fresh) extra_characters.emplace_back(part);
        return it->second;
      };
      const std::string_view left = std::string_view(token).substr(0, at), right = std::string_view(token).substr(at);
      const uint32_t l = symbol(left, at == first), r = symbol(right, d.length == right.size());
      if (l != kNoSymbol && r != kNoSymbol) merges.push_back({l, r, rank, static_cast<uint32_t>(order[n])});
      at += d.length;
    }
  }
  return merges;
}

}  // namespace hone::text
