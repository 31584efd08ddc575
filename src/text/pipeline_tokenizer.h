// The tokenizer that every source builds: stages of pipeline.h, added tokens, and where it came from.
#pragma once

#include "text/pipeline.h"

namespace hone::text {

struct TokenizerParts {
  std::unique_ptr<Normalizer> normalizer;          // null: none
  std::unique_ptr<PreTokenizer> pre_tokenizer;     // null: the text is one piece
  std::unique_ptr<Model> model;
  std::unique_ptr<PostProcessor> post_processor;   // null: none
  std::unique_ptr<Decoder> decoder;                // null: tokens joined by spaces
  std::vector<AddedToken> added;
  size_t minimum_size = 0;                         // of the vocabulary, where ids past the last piece exist
  std::optional<TokenId> bos, eos, eot;
  std::string tokenizer_json, config_json;         // the source, when it was JSON
  std::optional<VocabSpec> spec;                   // the source, when it was GGUF; without tokens: the model's pieces
};

std::unique_ptr<Tokenizer> make_pipeline_tokenizer(TokenizerParts parts);

// Exports, in their own files.
VocabSpec vocab_spec_from_json(const std::string& tokenizer_json, const std::string& config_json);
std::string json_from_vocab_spec(const VocabSpec& spec);

// Names in tokenizer_config.json: "bos_token" and the like, a string or an object with "content".
std::optional<std::string> config_token(const Doc& config, const char* key);

// llama.cpp keeps a vocabulary of WordPiece with a space mark before words instead of ## before the rest of
// them: the piece as WordPiece spells it.
std::string word_piece_of(const std::string& token);
// A capital in a piece of a "bert" vocabulary: it belongs to a cased model. (The file does not say so, and
// llama.cpp lowers every text.)
bool is_cased_piece(const VocabSpec& spec, size_t id);

// Phi-3's GGUF does not carry that its chat markers swallow the spaces behind them; llama.cpp goes by the
// model's name, hone by the vocabulary. True when spec is that vocabulary.
bool is_phi3(const VocabSpec& spec);
bool strips_right(const VocabSpec& spec, TokenId id);

}  // namespace hone::text
