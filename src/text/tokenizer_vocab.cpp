// The tokenizer that a GGUF file describes: models "gpt2" (byte-level BPE) and "llama" (SentencePiece BPE).
#include <set>

#include "base/log.h"
#include "text/bpe.h"
#include "text/pipeline_tokenizer.h"
#include "text/pre_table.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

enum TokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

void check_spec(const VocabSpec& spec) {
  if (spec.tokens.empty()) fail(ErrorKind::kBadInput, "[tokenizer] the vocabulary is empty (tokenizer.ggml.tokens)");
  if (spec.tokens.size() > 0x7FFFFFFF) fail(ErrorKind::kUnsupported, "[tokenizer] the vocabulary has {} tokens", spec.tokens.size());
  if (!spec.types.empty() && spec.types.size() != spec.tokens.size())
    fail(ErrorKind::kBadInput, "[tokenizer] {} token types for {} tokens", spec.types.size(), spec.tokens.size());
  if (!spec.scores.empty() && spec.scores.size() != spec.tokens.size())
    fail(ErrorKind::kBadInput, "[tokenizer] {} scores for {} tokens", spec.scores.size(), spec.tokens.size());
  const std::pair<const char*, std::optional<TokenId>> ids[] = {
      {"bos", spec.bos}, {"eos", spec.eos}, {"eot", spec.eot}, {"unknown", spec.unknown}, {"padding", spec.padding}};
  for (const auto& [name, id] : ids)
    if (id && (*id < 0 || static_cast<size_t>(*id) >= spec.tokens.size()))
      fail(ErrorKind::kBadInput, "[tokenizer] the {} token id {} is outside the vocabulary of {}", name, *id, spec.tokens.size());
}

int32_t type_of(const VocabSpec& spec, size_t id) { return spec.types.empty() ? kNormal : spec.types[id]; }

// Published files mark some control tokens as user-defined. llama.cpp treats these by name as control
// tokens, so that plain text cannot spell them.
bool looks_like_control(const std::string& token) {
  static const std::set<std::string> names = {
      "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<|eom_id|>", "<EOT>", "_<EOT>",
      "<|return|>", "<|call|>", "</s>", "<end_of_utterance>", "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>",
      "▁<PRE>", "<|code_prefix|>", "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>", "<|code_suffix|>",
      "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>", "<|fim_pad|>", "<fim-pad>",
      "<fim_pad>", "<PAD>", "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>",
      "<｜end▁of▁sentence｜>"};
  return names.contains(token);
}

std::vector<AddedToken> added_tokens(const VocabSpec& spec) {
  std::vector<AddedToken> added;
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    const int32_t type = type_of(spec, i);
    if (type != kUnknown && type != kControl && type != kUserDefined) continue;
    AddedToken token;
    token.content = spec.tokens[i];
    token.id = static_cast<TokenId>(i);
    token.special = type != kUserDefined || looks_like_control(token.content);
    token.rstrip = strips_right(spec, token.id);
    added.push_back(std::move(token));
  }
  return added;
}

Vocabulary vocabulary_of(const VocabSpec& spec) {
  Vocabulary vocabulary;
  vocabulary.reserve(spec.tokens.size());
  for (size_t i = 0; i < spec.tokens.size(); ++i) vocabulary.add(spec.tokens[i], static_cast<int64_t>(i));
  return vocabulary;
}

void add_affixes(bool add_bos, bool add_eos, TokenizerParts& parts) {
  std::vector<TokenId> before, after;
  if (add_bos && parts.bos) before.push_back(*parts.bos);
  if (add_eos && parts.eos) after.push_back(*parts.eos);
  parts.post_processor = make_affixes(std::move(before), std::move(after));
}

void build_byte_level(const VocabSpec& spec, TokenizerParts& parts) {
  std::string pre = spec.pre;
  if (pre.empty()) {
    logger().warn("[tokenizer] the file does not name its pre-tokenizer (tokenizer.ggml.pre); using 'default', which may split text differently");
    pre = "default";
  }
  const PreTokenizerRow& row = find_pre_tokenizer(pre);
  BpeOptions options;
  options.ignore_merges = row.ignore_merges;
  parts.model = make_bpe_from_merges(vocabulary_of(spec), spec.merges, options);
  parts.pre_tokenizer = make_byte_level_splits(row.regexes);
  parts.decoder = make_decoder(Doc{{"type", "ByteLevel"}});
  add_affixes(spec.add_bos.value_or(row.add_bos), spec.add_eos.value_or(false), parts);
}

void build_sentencepiece(const VocabSpec& spec, TokenizerParts& parts) {
  if (spec.scores.empty()) fail(ErrorKind::kBadInput, "[tokenizer] a 'llama' vocabulary needs scores (tokenizer.ggml.scores)");
  std::vector<bool> mergeable(spec.tokens.size());
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    const int32_t type = type_of(spec, i);
    mergeable[i] = type == kNormal || type == kUserDefined || type == kUnused;
  }
  // NaN would make the order of merges undefined.
  for (const float score : spec.scores)
    if (score != score) fail(ErrorKind::kBadInput, "[tokenizer] a score is not a number");
  parts.model = make_bpe_from_scores(vocabulary_of(spec), spec.scores, mergeable, spec.unknown);
  const bool prefix = spec.add_space_prefix.value_or(true);
  const Doc to_mark = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\xE2\x96\x81"}};
  Doc normalizers = Doc::array();
  if (prefix) normalizers.push_back({{"type", "Prepend"}, {"prepend", "\xE2\x96\x81"}});
  normalizers.push_back(to_mark);
  parts.normalizer = make_normalizer({{"type", "Sequence"}, {"normalizers", normalizers}});
  Doc decoders = Doc::array();
  decoders.push_back({{"type", "Replace"}, {"pattern", {{"String", "\xE2\x96\x81"}}}, {"content", " "}});
  decoders.push_back({{"type", "ByteFallback"}});
  decoders.push_back({{"type", "Fuse"}});
  if (prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  parts.decoder = make_decoder({{"type", "Sequence"}, {"decoders", decoders}});
  add_affixes(spec.add_bos.value_or(true), spec.add_eos.value_or(false), parts);
}

}  // namespace

bool is_phi3(const VocabSpec& spec) {
  return spec.model == "llama" && spec.tokens.size() >= 32011 && spec.tokens[32001] == "<|assistant|>" && spec.tokens[32002] == "<|placeholder1|>";
}

bool strips_right(const VocabSpec& spec, TokenId id) {
  if (!is_phi3(spec)) return false;
  const std::string& token = spec.tokens[static_cast<size_t>(id)];
  return token != "<unk>" && token != "<s>" && token != "<|endoftext|>";
}

std::unique_ptr<Tokenizer> tokenizer_from_vocab(VocabSpec spec) {
  check_spec(spec);
  using Build = void (*)(const VocabSpec&, TokenizerParts&);
  static constexpr std::pair<const char*, Build> kModels[] = {{"gpt2", build_byte_level}, {"llama", build_sentencepiece}};
  TokenizerParts parts;
  const bool sentencepiece = spec.model == "llama";
  const auto or_default = [&](std::optional<TokenId> id, TokenId fallback) {
    return id || !sentencepiece || static_cast<size_t>(fallback) >= spec.tokens.size() ? id : std::optional<TokenId>(fallback);
  };
  parts.bos = or_default(spec.bos, 1);
  parts.eos = or_default(spec.eos, 2);
  parts.eot = spec.eot;
  if (sentencepiece && !spec.unknown && type_of(spec, 0) == kUnknown) spec.unknown = 0;
  Build build = nullptr;
  for (const auto& [name, function] : kModels)
    if (spec.model == name) build = function;
  if (!build) fail(ErrorKind::kUnsupported, "[tokenizer] vocabulary model '{}' (tokenizer.ggml.model) is not supported", spec.model);
  build(spec, parts);
  parts.added = added_tokens(spec);
  spec.bos = parts.bos;  // so that an export states the defaults
  spec.eos = parts.eos;
  parts.spec = std::move(spec);
  return make_pipeline_tokenizer(std::move(parts));
}

}  // namespace hone::text
