// Added tokens: a byte trie searched leftmost-longest; flags as the package `tokenizers` applies them.
#include <algorithm>

#include "text/pipeline.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

constexpr size_t kMaxContent = 4096;

// The character that ends before `at`.
uint32_t character_before(std::string_view text, size_t at) {
  size_t begin = at - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return decode_utf8(text, begin).code_point;
}

size_t skip_spaces_left(std::string_view text, size_t at, size_t floor) {
  while (at > floor) {
    size_t begin = at - 1;
    while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
    if (!is_whitespace(decode_utf8(text, begin).code_point)) break;
    at = begin;
  }
  return std::max(at, floor);
}

size_t skip_spaces_right(std::string_view text, size_t at) {
  while (at < text.size()) {
    const Decoded d = decode_utf8(text, at);
    if (!is_whitespace(d.code_point)) break;
    at += d.length;
  }
  return at;
}

}  // namespace

void AddedTokenMatcher::add(const AddedToken& token, const std::string& as_searched) {
  if (as_searched.empty()) return;
  if (as_searched.size() > kMaxContent)
    fail(ErrorKind::kUnsupported, "[tokenizer] added token {} has {} bytes; at most {} are supported", token.id, as_searched.size(), kMaxContent);
  size_t node = 0;
  for (const char c : as_searched) {
    const auto byte = static_cast<uint8_t>(c);
    auto& next = nodes_[node].next;
    auto it = std::lower_bound(next.begin(), next.end(), byte, [](const auto& e, uint8_t b) { return e.first < b; });
    if (it == next.end() || it->first != byte) {
      it = next.insert(it, {byte, static_cast<int32_t>(nodes_.size())});
      const auto target = static_cast<size_t>(it->second);
      nodes_.emplace_back();  // invalidates `next`
      node = target;
    } else {
      node = static_cast<size_t>(it->second);
    }
  }
  if (nodes_[node].token >= 0) return;  // the first of two equal contents wins
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  starts_[static_cast<uint8_t>(as_searched[0])] = true;
  tokens_.push_back(token);
}

AddedTokenMatcher::Match AddedTokenMatcher::longest_at(std::string_view text, size_t at) const {
  Match best;
  size_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto& next = nodes_[node].next;
    const auto byte = static_cast<uint8_t>(text[i]);
    const auto it = std::lower_bound(next.begin(), next.end(), byte, [](const auto& e, uint8_t b) { return e.first < b; });
    if (it == next.end() || it->first != byte) break;
    node = static_cast<size_t>(it->second);
    if (nodes_[node].token >= 0) best = {i + 1, nodes_[node].token};
  }
  return best;
}

std::vector<AddedTokenMatcher::Part> AddedTokenMatcher::split(std::string_view text, bool skip_special) const {
  std::vector<Part> parts;
  size_t done = 0;
  Span spaces;  // the last run of whitespace skipped, so that overlapping skips stay linear
  for (size_t at = 0; at < text.size();) {
    Match match;
    if (starts_[static_cast<uint8_t>(text[at])]) match = longest_at(text, at);
    if (match.token < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(match.token)];
    size_t begin = at, end = match.end;
    at = match.end;
    if (skip_special && token.special) continue;
    if (token.single_word) {
      const bool free_left = begin == 0 || !is_word(character_before(text, begin));
      const bool free_right = end == text.size() || !is_word(decode_utf8(text, end).code_point);
      if (!free_left || !free_right) continue;
    }
    if (token.lstrip) begin = skip_spaces_left(text, begin, std::min(done, begin));
    if (token.lstrip) begin = std::max(begin, done);
    if (token.rstrip) {
      if (end < spaces.begin || end > spaces.end) spaces = {end, skip_spaces_right(text, end)};
      end = spaces.end;
    }
    if (done < begin) parts.push_back({{done, begin}, std::nullopt});
    parts.push_back({{begin, end}, token.id});
    done = end;
  }
  if (done < text.size()) parts.push_back({{done, text.size()}, std::nullopt});
  return parts;
}

void check_growth(size_t before, size_t after) {
  if (after > (1u << 20) + 32 * before)
    fail(ErrorKind::kBadInput, "[tokenizer] the tokenizer's rules make a text of {} bytes grow past {}; refused", before, after);
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  for (size_t at = text.find(from); at != std::string_view::npos; at = text.find(from, done)) {
    out.append(text, done, at - done).append(to);
    done = at + from.size();
    check_growth(text.size(), out.size());
  }
  out.append(text, done);
  return out;
}

}  // namespace hone::text
