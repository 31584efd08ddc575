// The file tokenizer.model (protobuf ModelProto of SentencePiece) as plain data, and what builds tokenizers
// from it. Field numbers and defaults: sentencepiece_model.proto of the sentencepiece project.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/pipeline_tokenizer.h"

namespace hone::text {

enum class PieceType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

struct SentencePieceModel {
  enum class Kind { kUnigram = 1, kBpe = 2, kWord = 3, kChar = 4 };
  Kind kind = Kind::kUnigram;
  std::vector<std::string> pieces;  // by id
  std::vector<float> scores;
  std::vector<PieceType> types;
  int32_t unknown = -1, bos = -1, eos = -1, pad = -1;  // -1: none
  std::string unknown_surface = " \xE2\x81\x87 ";
  bool byte_fallback = false, whitespace_as_suffix = false;
  std::string charsmap, reverse_charsmap;  // of the normalizer and the denormalizer; empty: identity
  bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
};

// Error(kBadInput) for bytes that are no such model, Error(kUnsupported) for what hone cannot do.
SentencePieceModel parse_sentencepiece(std::string_view bytes);

// Normalizer, model and decoder with the package sentencepiece's results. prefix_after_tokens: whether the
// dummy prefix is also put behind an added token (transformers' "legacy").
void build_sentencepiece(const SentencePieceModel& model, bool prefix_after_tokens, TokenizerParts& parts);

// sentencepiece_models.cpp; trie values are ids.
std::unique_ptr<Model> make_sentencepiece_model(const SentencePieceModel& model);

VocabSpec vocab_spec_of(const SentencePieceModel& model);
SentencePieceModel sentencepiece_of(const VocabSpec& spec);

}  // namespace hone::text
