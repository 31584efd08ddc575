// Tokenizers: text to ids and back, from tokenizer.json, tokenizer.model and the vocabulary of a GGUF file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hone::text {

using TokenId = int32_t;

// What GGUF metadata says about a tokenizer (keys tokenizer.ggml.*), as plain data.
struct VocabSpec {
  std::string model;                  // "llama" (SentencePiece BPE), "gpt2" (byte-level BPE), "t5" (Unigram), "bert" (WordPiece)
  std::string pre;                    // name of the pre-tokenizer, byte-level BPE only
  std::vector<std::string> tokens;
  std::vector<float> scores;          // empty when absent
  std::vector<int32_t> types;         // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
  std::vector<std::string> merges;    // "left right"
  std::optional<TokenId> bos, eos, eot, unknown, padding;
  std::optional<bool> add_bos, add_eos, add_space_prefix;
  std::optional<bool> remove_extra_whitespaces;  // SentencePiece's; absent: no
  std::string precompiled_charsmap;   // SentencePiece's character map, raw bytes; empty: none
  std::optional<TokenId> separator, classifier;  // BERT's [SEP] and [CLS]
  // Normalizer of "bert" and of the pre-tokenizer "whitespace" (tokenizer.ggml.normalizer.*). Absent: "bert" lowers
  // unless its pieces have capitals, "whitespace" does not; accents are dropped where text is lowered.
  std::optional<bool> lowercase, strip_accents;
  std::string refusal;                // not a key: why the tokenizer it came from has no GGUF form; empty: it has
};

struct EncodeOptions {
  bool add_special = true;    // BOS/EOS as the tokenizer's post-processor or flags say
  bool parse_special = true;  // special tokens written in the text become their ids
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const = 0;
  // Two texts as one input (question and passage): each encoded alone, framed by the post-processor.
  // Error(kUnsupported) where the tokenizer has no form for two texts.
  virtual std::vector<TokenId> encode_pair(std::string_view first, std::string_view second, const EncodeOptions& options = {}) const;
  // Whole decode, with the decoder's rules for first spaces. Invalid UTF-8 becomes U+FFFD.
  virtual std::string decode(const std::vector<TokenId>& ids, bool skip_special = true) const = 0;
  // The raw bytes one token adds when it follows other text (streaming); empty for special tokens
  // when skip_special.
  virtual std::string token_bytes(TokenId id, bool skip_special = true) const = 0;
  virtual std::string piece(TokenId id) const = 0;          // as the vocabulary spells it
  virtual size_t vocab_size() const = 0;
  virtual std::optional<TokenId> find(std::string_view piece) const = 0;
  virtual bool is_special(TokenId id) const = 0;

  std::optional<TokenId> bos, eos;
  std::vector<TokenId> end_of_turn;   // every id that ends an answer (eos, eot, <|im_end|>, ...)

  // The tokenizer in the other form, for writers. Error(kUnsupported) with the reason where it cannot be
  // carried exactly (for GGUF: a pre-tokenizer chain that llama.cpp has no name for).
  virtual VocabSpec to_vocab_spec() const = 0;
  virtual std::string to_tokenizer_json() const = 0;
};

// Error(kBadInput) for malformed documents, Error(kUnsupported) names the component not supported.
std::unique_ptr<Tokenizer> tokenizer_from_json(std::string_view tokenizer_json, std::string_view tokenizer_config_json = {});
std::unique_ptr<Tokenizer> tokenizer_from_vocab(VocabSpec spec);
// tokenizer.model of SentencePiece (protobuf): ids and texts of the package sentencepiece. The configuration's
// added_tokens_decoder, add_bos_token, add_eos_token and "legacy" (whether text behind an added token gets the
// dummy prefix, too) act as in transformers' classes for such files.
std::unique_ptr<Tokenizer> tokenizer_from_sentencepiece(std::string_view model, std::string_view tokenizer_config_json = {});

// Joins token bytes into text and gives out whole UTF-8 characters only.
class StreamDecoder {
 public:
  // continuation: the tokens follow a prompt, so a first space belongs to the text (SentencePiece writes one
  // before every word). Without it the whole equals Tokenizer::decode, which drops that space.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true, bool continuation = true)
      : tokenizer_(tokenizer), skip_(skip_special), continuation_(continuation) {}
  std::string push(TokenId id);  // text that became complete, maybe empty
  std::string finish();          // what is left; incomplete bytes become U+FFFD
 private:
  const Tokenizer& tokenizer_;
  bool skip_, continuation_;
  std::string pending_;
  bool first_ = true;            // nothing but spaces so far
  std::vector<TokenId> head_;    // the tokens of those spaces
  size_t first_spaces_ = 0;
};

}  // namespace hone::text
