// Models and a tokenizer made up for tests of generation: every byte is a token.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "generate/session.h"

namespace hone::generate {

using text::TokenId;
inline constexpr TokenId kEnd = 256;
inline constexpr size_t kVocab = 257;

// Every byte is a token; 256 is "<end>".
class ByteTokenizer : public text::Tokenizer {
 public:
  ByteTokenizer() { eos = kEnd, end_of_turn = {kEnd}; }
  std::vector<TokenId> encode(std::string_view text, const text::EncodeOptions& = {}) const override {
    std::vector<TokenId> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::string decode(const std::vector<TokenId>& ids, bool) const override {
    std::string text;
    for (const TokenId id : ids) text += token_bytes(id, true);
    return text;
  }
  std::string token_bytes(TokenId id, bool skip_special) const override {
    if (id == kEnd) return skip_special ? "" : "<end>";
    return std::string(1, static_cast<char>(id));
  }
  std::string piece(TokenId id) const override { return token_bytes(id, false); }
  size_t vocab_size() const override { return kVocab; }
  std::optional<TokenId> find(std::string_view) const override { return {}; }
  bool is_special(TokenId id) const override { return id == kEnd; }
  text::VocabSpec to_vocab_spec() const override { fail(ErrorKind::kUnsupported, "[test] no"); }
  std::string to_tokenizer_json() const override { fail(ErrorKind::kUnsupported, "[test] no"); }
};

// Says `script`, then "<end>", from the first token after a prompt (a feed of more than one id, or the first
// one).
class ScriptedModel : public CausalModel {
 public:
  explicit ScriptedModel(std::string script, int64_t context = 1000)
      : script_(std::move(script)), context_(context) {}
  std::span<const float> feed(std::span<const TokenId> ids) override {
    if (throw_cancel) throw Error(ErrorKind::kCancelled, "[test] cancelled");
    fed.emplace_back(ids.begin(), ids.end());
    tokens_.insert(tokens_.end(), ids.begin(), ids.end());
    if (ids.size() > 1 || tokens_.size() == 1) said_ = 0;
    logits_.assign(kVocab, 0);
    const size_t next = said_ < script_.size() ? static_cast<unsigned char>(script_[said_]) : size_t{kEnd};
    ++said_;
    logits_[next] = 100;
    return logits_;
  }
  int64_t position(int64_t) const override { return static_cast<int64_t>(tokens_.size()); }
  void truncate(int64_t length, int64_t) override { tokens_.resize(static_cast<size_t>(length)); }
  int64_t context() const override { return context_; }
  const std::vector<TokenId>& tokens() const override { return tokens_; }

  std::vector<std::vector<TokenId>> fed;
  bool throw_cancel = false;

 private:
  std::string script_;
  int64_t context_;
  size_t said_ = 0;
  std::vector<TokenId> tokens_;
  std::vector<float> logits_;
};

// Any CausalModel over a function of the tokens so far; scores several tokens at once.
class FunctionModel : public CausalModel {
 public:
  explicit FunctionModel(int64_t scored = 1, int64_t context = 1000) : scored_(scored), context_(context) {}
  // Logits [kVocab] after these tokens.
  virtual void score(std::span<const TokenId> tokens, float* logits) const = 0;

  std::span<const float> feed(std::span<const TokenId> ids) override {
    feed_all(ids);
    logits_.resize(kVocab);
    score(tokens_, logits_.data());
    return logits_;
  }
  std::span<const float> feed_scored(std::span<const TokenId> ids) override {
    EXPECT_LE(static_cast<int64_t>(ids.size()), scored_);
    const size_t before = tokens_.size();
    feed_all(ids);
    logits_.resize(kVocab * ids.size());
    for (size_t i = 0; i < ids.size(); ++i)
      score(std::span(tokens_).first(before + i + 1), &logits_[i * kVocab]);
    return logits_;
  }
  int64_t scored_rows() const override { return scored_; }
  int64_t position(int64_t) const override { return static_cast<int64_t>(tokens_.size()); }
  void truncate(int64_t length, int64_t) override {
    EXPECT_LE(length, static_cast<int64_t>(tokens_.size()));
    tokens_.resize(static_cast<size_t>(length));
  }
  int64_t context() const override { return context_; }
  const std::vector<TokenId>& tokens() const override { return tokens_; }

  int64_t runs = 0, fed = 0;

 private:
  void feed_all(std::span<const TokenId> ids) {
    ++runs;
    fed += static_cast<int64_t>(ids.size());
    tokens_.insert(tokens_.end(), ids.begin(), ids.end());
    EXPECT_LE(static_cast<int64_t>(tokens_.size()), context_);
  }
  int64_t scored_, context_;
  std::vector<TokenId> tokens_;
  std::vector<float> logits_;
};

// Says `script` from behind a prompt of `prompt` tokens on, then "<end>".
class PositionModel : public FunctionModel {
 public:
  PositionModel(std::string script, size_t prompt, int64_t scored = 1, int64_t context = 1000)
      : FunctionModel(scored, context), script_(std::move(script)), prompt_(prompt) {}
  void score(std::span<const TokenId> tokens, float* logits) const override {
    std::fill(logits, logits + kVocab, 0.0f);
    const size_t said = tokens.size() - prompt_;
    logits[said < script_.size() ? static_cast<unsigned char>(script_[said]) : size_t{kEnd}] = 100;
  }

 private:
  std::string script_;
  size_t prompt_;
};

// Random logits of a few letters that depend on the last two tokens.
class RandomModel : public FunctionModel {
 public:
  static constexpr int kLetters = 6;  // 'a' to 'f'
  RandomModel(uint64_t seed, float spread, int64_t scored = 1)
      : FunctionModel(scored), seed_(seed), spread_(spread) {}
  void score(std::span<const TokenId> tokens, float* logits) const override {
    std::fill(logits, logits + kVocab, -std::numeric_limits<float>::infinity());
    uint64_t key = seed_;
    for (const TokenId id : tokens.last(std::min<size_t>(2, tokens.size())))
      key = key * 1000003 + static_cast<uint64_t>(id);
    Random random(key);
    for (int i = 0; i < kLetters; ++i) logits['a' + i] = spread_ * static_cast<float>(random.normal());
  }

 private:
  uint64_t seed_;
  float spread_;
};

}  // namespace hone::generate
