// The tokenizer that a GGUF file describes: models "gpt2" (byte-level BPE), "llama" (SentencePiece BPE), "t5"
// (SentencePiece Unigram) and "bert" (WordPiece).
#include <algorithm>
#include <set>

#include "base/log.h"
#include "text/bpe.h"
#include "text/pipeline_tokenizer.h"
#include "text/pre_table.h"
#include "text/sentencepiece_model.h"
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
      {"bos", spec.bos}, {"eos", spec.eos}, {"eot", spec.eot}, {"unknown", spec.unknown}, {"padding", spec.padding},
      {"separator", spec.separator}, {"classifier", spec.classifier}};
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

// Gemma 4 and its kin: merges over plain characters, spaces as marks. (llama.cpp also cuts at line ends; the
// original does not, and no merge crosses them.)
void build_raw(const VocabSpec& spec, TokenizerParts& parts) {
  BpeOptions options;
  options.byte_fallback = options.fuse_unknown = true;
  parts.model = make_bpe_from_merges(vocabulary_of(spec), spec.merges, options);
  parts.model->unknown = spec.unknown;
  parts.normalizer = make_normalizer({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\xE2\x96\x81"}});
  parts.decoder = make_decoder({{"type", "Sequence"},
                                {"decoders", {{{"type", "Replace"}, {"pattern", {{"String", "\xE2\x96\x81"}}}, {"content", " "}},
                                              {{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}});
  add_affixes(spec.add_bos.value_or(true), spec.add_eos.value_or(false), parts);
}

// Words of plain characters, spaces dropped, as the original has it. (llama.cpp cuts at spaces only; a merge
// across the border of a word does not occur in such a vocabulary.) Characters that are no token are dropped.
void build_words(const VocabSpec& spec, const PreTokenizerRow& row, TokenizerParts& parts) {
  parts.model = make_bpe_from_merges(vocabulary_of(spec), spec.merges, {});
  if (spec.lowercase.value_or(false)) parts.normalizer = make_normalizer({{"type", "Lowercase"}});
  parts.pre_tokenizer = make_pre_tokenizer({{"type", "Whitespace"}});
  parts.decoder = make_decoder({{"type", "Fuse"}});
  add_affixes(spec.add_bos.value_or(row.add_bos), spec.add_eos.value_or(row.add_eos), parts);
}

void build_byte_level(const VocabSpec& spec, TokenizerParts& parts) {
  std::string pre = spec.pre;
  if (pre.empty()) {
    logger().warn("[tokenizer] the file does not name its pre-tokenizer (tokenizer.ggml.pre); using 'default', which may split text differently");
    pre = "default";
  }
  const PreTokenizerRow& row = find_pre_tokenizer(pre);
  if (row.raw) return build_raw(spec, parts);
  if (row.words) return build_words(spec, row, parts);
  BpeOptions options;
  options.ignore_merges = row.ignore_merges;
  parts.model = make_bpe_from_merges(vocabulary_of(spec), spec.merges, options);
  parts.pre_tokenizer = make_byte_level_splits(row.regexes);
  parts.decoder = make_decoder(Doc{{"type", "ByteLevel"}});
  add_affixes(spec.add_bos.value_or(row.add_bos), spec.add_eos.value_or(row.add_eos), parts);
}

void check_scores(const VocabSpec& spec) {
  if (spec.scores.empty()) fail(ErrorKind::kBadInput, "[tokenizer] a '{}' vocabulary needs scores (tokenizer.ggml.scores)", spec.model);
  // NaN would make the order of merges undefined.
  for (const float score : spec.scores)
    if (score != score) fail(ErrorKind::kBadInput, "[tokenizer] a score is not a number");
}

// What was a tokenizer.model with rules that llama.cpp's "llama" does not know, or Unigram.
void build_pieces(const VocabSpec& spec, TokenizerParts& parts) {
  check_scores(spec);
  const std::optional<TokenId> bos = parts.bos, eos = parts.eos;
  text::build_sentencepiece(sentencepiece_of(spec), true, parts);
  parts.bos = bos;
  parts.eos = eos;
  const bool unigram = spec.model == "t5";
  add_affixes(spec.add_bos.value_or(!unigram), spec.add_eos.value_or(unigram), parts);
}

void build_word_piece(const VocabSpec& spec, TokenizerParts& parts) {
  Doc vocabulary = Doc::object();
  bool upper = false;
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    const std::string piece = type_of(spec, i) == kNormal ? word_piece_of(spec.tokens[i]) : spec.tokens[i];
    upper = upper || is_cased_piece(spec, i);
    if (!piece.empty() && !vocabulary.contains(piece)) vocabulary[piece] = i;
  }
  const auto name = [&](std::optional<TokenId> id, size_t otherwise) {
    const size_t at = id ? static_cast<size_t>(*id) : otherwise;
    return at < spec.tokens.size() ? spec.tokens[at] : std::string("[UNK]");
  };
  parts.model = make_model({{"type", "WordPiece"}, {"unk_token", name(spec.unknown, 100)}, {"continuing_subword_prefix", "##"},
                            {"max_input_chars_per_word", 100}, {"vocab", std::move(vocabulary)}});
  // Where the file does not say, a vocabulary with capitals belongs to a cased model: llama.cpp would lower its texts.
  Doc normalizer = {{"type", "BertNormalizer"}, {"lowercase", spec.lowercase.value_or(!upper)}};
  if (spec.strip_accents) normalizer["strip_accents"] = *spec.strip_accents;
  parts.normalizer = make_normalizer(normalizer);
  parts.pre_tokenizer = make_pre_tokenizer({{"type", "BertPreTokenizer"}});
  parts.decoder = make_decoder({{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}});
  const auto id_or = [&](std::optional<TokenId> id, std::optional<TokenId> second, TokenId otherwise) {
    const TokenId found = id ? *id : second.value_or(otherwise);
    if (static_cast<size_t>(found) >= spec.tokens.size()) fail(ErrorKind::kBadInput, "[tokenizer] the vocabulary lacks [CLS] or [SEP]");
    return found;
  };
  std::vector<TokenId> before, after;
  if (spec.add_bos.value_or(true)) before.push_back(id_or(spec.classifier, spec.bos, 101));
  if (spec.add_eos.value_or(true)) after.push_back(id_or(spec.separator, spec.eos, 102));
  parts.post_processor = make_affixes(std::move(before), std::move(after));
}

void build_sentencepiece(const VocabSpec& spec, TokenizerParts& parts) {
  if (spec.remove_extra_whitespaces.value_or(false) || !spec.precompiled_charsmap.empty()) return build_pieces(spec, parts);
  check_scores(spec);
  std::vector<bool> mergeable(spec.tokens.size());
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    const int32_t type = type_of(spec, i);
    mergeable[i] = type == kNormal || type == kUserDefined || type == kUnused;
  }
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

std::string word_piece_of(const std::string& token) {
  constexpr std::string_view mark = "\xE2\x96\x81";
  if (token.starts_with(mark) && token.size() > mark.size()) return token.substr(mark.size());
  if (token.starts_with('[') && token.ends_with(']')) return token;
  return "##" + token;
}

bool is_cased_piece(const VocabSpec& spec, size_t id) {
  const std::string& token = spec.tokens[id];
  return type_of(spec, id) == kNormal && !word_piece_of(token).starts_with('[') &&
         std::any_of(token.begin(), token.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

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
  static constexpr std::pair<const char*, Build> kModels[] = {
      {"gpt2", build_byte_level}, {"llama", build_sentencepiece}, {"t5", build_pieces}, {"bert", build_word_piece}, {"gemma4", build_raw}};
  TokenizerParts parts;
  const bool sentencepiece = spec.model == "llama";
  const auto or_default = [&](std::optional<TokenId> id, bool defaults, TokenId fallback) {
    return id || !defaults || static_cast<size_t>(fallback) >= spec.tokens.size() ? id : std::optional<TokenId>(fallback);
  };
  parts.bos = or_default(spec.bos, sentencepiece, 1);
  parts.eos = sentencepiece ? or_default(spec.eos, true, 2) : or_default(spec.eos, spec.model == "t5", 1);
  parts.eot = spec.eot;
  if (sentencepiece && !spec.unknown && type_of(spec, 0) == kUnknown) spec.unknown = 0;
  Build build = nullptr;
  for (const auto& [name, function] : kModels)
    if (spec.model == name) build = function;
  if (!build) fail(ErrorKind::kUnsupported, "[tokenizer] vocabulary model '{}' (tokenizer.ggml.model) is not supported", spec.model);
  build(spec, parts);
  if (parts.added.empty()) parts.added = added_tokens(spec);
  spec.bos = parts.bos;  // so that an export states the defaults
  spec.eos = parts.eos;
  // The pieces are in the vocabulary too; exports put them back.
  const Vocabulary& vocabulary = parts.model->vocabulary();
  bool same = vocabulary.size() == spec.tokens.size();
  for (size_t i = 0; same && i < spec.tokens.size(); ++i) {
    const std::string* piece = vocabulary.piece(static_cast<TokenId>(i));
    same = piece && *piece == spec.tokens[i];
  }
  if (same) std::vector<std::string>().swap(spec.tokens);
  parts.spec = std::move(spec);
  return make_pipeline_tokenizer(std::move(parts));
}

}  // namespace hone::text
