// The table of pieces, and the dispatch of models by type.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "text/pipeline.h"

namespace hone::text {
namespace {

constexpr int64_t kMaxHoles = 1 << 17;  // ids may have gaps, within reason

}  // namespace

void Vocabulary::reserve(size_t pieces) {
  pieces_.reserve(pieces);
  present_.reserve(pieces);
  grow(pieces);
}

void Vocabulary::add(std::string piece, int64_t id) {
  if (id < 0 || id > kMaxHoles + 2 * static_cast<int64_t>(count_))
    fail(ErrorKind::kBadInput, "[tokenizer] token id {} is out of range in a vocabulary of {} pieces", id, count_);
  const auto at = static_cast<size_t>(id);
  if (at < pieces_.size() && present_[at]) fail(ErrorKind::kBadInput, "[tokenizer] token id {} is given twice", id);
  set(static_cast<TokenId>(id), std::move(piece));
}

void Vocabulary::set(TokenId id, std::string piece) {
  const auto at = static_cast<size_t>(id);
  if (at >= pieces_.size()) {
    if (at > pieces_.size() + static_cast<size_t>(kMaxHoles))
      fail(ErrorKind::kBadInput, "[tokenizer] token id {} is out of range in a vocabulary of {} pieces", id, pieces_.size());
    pieces_.resize(at + 1);
    present_.resize(at + 1);
  }
  HONE_CHECK(!present_[at]);  // the table would keep the old text
  grow(count_ + 1);
  const uint64_t hash = hash_of(piece);
  const size_t free = probe(piece, hash);
  if (slots_[free].id < 0) {  // the first id of equal pieces stays
    slots_[free] = {static_cast<uint32_t>(hash >> 32), id};
    ++count_;
  }
  pieces_[at] = std::move(piece);
  present_[at] = true;
}

uint64_t Vocabulary::hash_of(std::string_view piece) {
  constexpr uint64_t kMix = 0x9E3779B97F4A7C15ull;
  uint64_t h = piece.size() * kMix;
  const auto take = [&](uint64_t word) {
    h = (h ^ word) * kMix;
    h ^= h >> 29;
  };
  size_t i = 0;
  for (; i + 8 <= piece.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, piece.data() + i, 8);
    take(word);
  }
  uint64_t word = 0;
  if (i < piece.size()) std::memcpy(&word, piece.data() + i, piece.size() - i);
  take(word);
  h *= kMix;
  return h ^ h >> 32;
}

size_t Vocabulary::probe(std::string_view piece, uint64_t hash) const {
  const size_t mask = slots_.size() - 1;
  const auto tag = static_cast<uint32_t>(hash >> 32);
  for (size_t i = static_cast<size_t>(hash) & mask;; i = (i + 1) & mask) {
    const Slot& s = slots_[i];
    if (s.id < 0 || (s.tag == tag && pieces_[static_cast<size_t>(s.id)] == piece)) return i;
  }
}

void Vocabulary::grow(size_t count) {
  if (count * 3 <= slots_.size() * 2) return;  // at most two thirds full
  size_t size = 64;
  while (size * 2 < count * 3) size *= 2;
  std::vector<Slot> old(size);
  old.swap(slots_);
  for (const Slot& s : old) {
    if (s.id < 0) continue;
    const std::string& piece = pieces_[static_cast<size_t>(s.id)];
    slots_[probe(piece, hash_of(piece))] = s;
  }
}

std::optional<TokenId> Vocabulary::find(std::string_view piece) const {
  if (slots_.empty()) return std::nullopt;
  const TokenId id = slots_[probe(piece, hash_of(piece))].id;
  return id < 0 ? std::nullopt : std::optional(id);
}

const std::string* Vocabulary::piece(TokenId id) const {
  const auto at = static_cast<size_t>(id);
  return id >= 0 && at < pieces_.size() && present_[at] ? &pieces_[at] : nullptr;
}

std::unique_ptr<Model> make_model(const Doc& object) {
  // Files of 2019 and 2020 leave the type out.
  std::string type = doc_string_or(object, "type", "", "model");
  if (type.empty()) type = doc_find(object, "merges") ? "BPE" : doc_find(object, "unk_id") ? "Unigram" : "WordPiece";
  using Make = std::unique_ptr<Model> (*)(const Doc&);
  static constexpr std::pair<const char*, Make> kModels[] = {
      {"BPE", make_bpe},
      {"Unigram", make_unigram},
      {"WordPiece", make_word_piece},
      {"WordLevel", make_word_level},
  };
  for (const auto& [name, make] : kModels)
    if (type == name) return make(object);
  fail(ErrorKind::kUnsupported, "[tokenizer] model '{}' is not supported", type);
}

}  // namespace hone::text
