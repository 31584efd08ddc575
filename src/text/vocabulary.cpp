// The table of pieces, and the dispatch of models by type.
#include <algorithm>

#include "text/pipeline.h"

namespace hone::text {
namespace {

constexpr int64_t kMaxHoles = 1 << 17;  // ids may have gaps, within reason

}  // namespace

void Vocabulary::reserve(size_t pieces) {
  pieces_.reserve(pieces);
  present_.reserve(pieces);
  ids_.reserve(pieces);
}

void Vocabulary::add(std::string piece, int64_t id) {
  if (id < 0 || id > kMaxHoles + 2 * static_cast<int64_t>(ids_.size()))
    fail(ErrorKind::kBadInput, "[tokenizer] token id {} is out of range in a vocabulary of {} pieces", id, ids_.size());
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
  ids_.emplace(piece, id);  // the lowest id of equal pieces stays
  pieces_[at] = std::move(piece);
  present_[at] = true;
}

std::optional<TokenId> Vocabulary::find(std::string_view piece) const {
  const auto it = ids_.find(piece);
  if (it == ids_.end()) return std::nullopt;
  return it->second;
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
