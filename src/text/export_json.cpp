// GGUF keys -> tokenizer.json that the package `tokenizers` loads and that gives the same ids.
#include <algorithm>
#include <numeric>

#include "base/json.h"
#include "base/log.h"
#include "text/bpe.h"
#include "text/pipeline_tokenizer.h"
#include "text/pre_table.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

constexpr const char* kMark = "\xE2\x96\x81";

int32_t type_of(const VocabSpec& spec, size_t id) { return spec.types.empty() ? 1 : spec.types[id]; }

Json added_tokens(const VocabSpec& spec) {
  Json list = Json::array();
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    const int32_t type = type_of(spec, i);
    if (type < 2 || type > 4) continue;
    list.push_back({{"id", i},
                    {"content", spec.tokens[i]},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", strips_right(spec, static_cast<TokenId>(i))},
                    {"normalized", false},
                    {"special", type != 4}});
  }
  return list;
}

// The pieces by id. Appended without search: Json's objects are searched linearly.
Json vocabulary(const VocabSpec& spec) {
  Vocabulary seen;
  Json::object_t object;
  object.reserve(spec.tokens.size());
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    if (!is_valid_utf8(spec.tokens[i]))
      fail(ErrorKind::kUnsupported, "[tokenizer] token {} is not valid UTF-8, which tokenizer.json cannot carry", i);
    seen.add(spec.tokens[i], static_cast<int64_t>(i));
    if (*seen.find(spec.tokens[i]) == static_cast<TokenId>(i)) object.emplace_back(spec.tokens[i], i);
    else logger().warn("[tokenizer] token {} repeats the text of token {}; left out", i, *seen.find(spec.tokens[i]));
  }
  return Json(std::move(object));
}

Json sequence(const char* list, Json parts) { return {{"type", "Sequence"}, {list, std::move(parts)}}; }
Json replace(const char* from, const char* to) { return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}}; }
Json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

Json post_processor(const VocabSpec& spec, bool add_bos, bool add_eos, const Json& otherwise) {
  Json single = Json::array(), pair = Json::array(), specials = Json::object();
  const auto special = [&](TokenId id, int type_id) -> Json {
    const std::string& name = spec.tokens[static_cast<size_t>(id)];
    specials[name] = {{"id", name}, {"ids", {id}}, {"tokens", {name}}};
    return {{"SpecialToken", {{"id", name}, {"type_id", type_id}}}};
  };
  for (const auto& [name, type_id] : {std::pair{"A", 0}, std::pair{"B", 1}}) {
    Json part = Json::array();
    if (add_bos && spec.bos) part.push_back(special(*spec.bos, type_id));
    part.push_back({{"Sequence", {{"id", name}, {"type_id", type_id}}}});
    if (add_eos && spec.eos) part.push_back(special(*spec.eos, type_id));
    if (type_id == 0) single = part;
    pair.insert(pair.end(), part.begin(), part.end());
  }
  if (specials.empty()) return otherwise;
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", specials}};
}

Json model(Json vocab, Json merges, const Json& unknown, bool byte_fallback, bool ignore_merges) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", unknown},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", byte_fallback},
          {"byte_fallback", byte_fallback},
          {"ignore_merges", ignore_merges},
          {"vocab", std::move(vocab)},
          {"merges", std::move(merges)}};
}

// The file's merges, without those that name no token.
Json given_merges(const VocabSpec& spec) {
  Vocabulary pieces;
  for (size_t i = 0; i < spec.tokens.size(); ++i) pieces.add(spec.tokens[i], static_cast<int64_t>(i));
  Json merges = Json::array();
  for (const std::string& merge : spec.merges) {
    const size_t space = merge.find(' ', 1);
    if (space == std::string::npos) continue;
    const std::string left = merge.substr(0, space), right = merge.substr(space + 1);
    if (pieces.find(left) && pieces.find(right) && pieces.find(left + right)) merges.push_back({left, right});
  }
  return merges;
}

void fill_raw(const VocabSpec& spec, Json& root) {
  root["normalizer"] = replace(" ", kMark);
  root["pre_tokenizer"] = nullptr;
  root["post_processor"] = post_processor(spec, spec.add_bos.value_or(true), spec.add_eos.value_or(false), nullptr);
  root["decoder"] = sequence("decoders", Json::array({replace(kMark, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}}));
  const Json unknown = spec.unknown ? Json(spec.tokens[static_cast<size_t>(*spec.unknown)]) : Json(nullptr);
  root["model"] = model(vocabulary(spec), given_merges(spec), unknown, true, false);
}

void fill_words(const VocabSpec& spec, const PreTokenizerRow& row, Json& root) {
  root["normalizer"] = spec.lowercase.value_or(false) ? Json{{"type", "Lowercase"}} : Json(nullptr);
  root["pre_tokenizer"] = {{"type", "Whitespace"}};
  root["post_processor"] = post_processor(spec, spec.add_bos.value_or(row.add_bos), spec.add_eos.value_or(row.add_eos), nullptr);
  root["decoder"] = {{"type", "Fuse"}};
  root["model"] = model(vocabulary(spec), given_merges(spec), nullptr, false, false);
}

void fill_byte_level(const VocabSpec& spec, Json& root) {
  const PreTokenizerRow& row = find_pre_tokenizer(spec.pre.empty() ? "default" : spec.pre);
  if (row.raw) return fill_raw(spec, root);
  if (row.words) return fill_words(spec, row, root);
  Json parts = Json::array();
  for (const std::string& regex : row.regexes)
    parts.push_back({{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}});
  parts.push_back(byte_level(false));
  root["normalizer"] = nullptr;
  root["pre_tokenizer"] = sequence("pretokenizers", std::move(parts));
  root["post_processor"] = post_processor(spec, spec.add_bos.value_or(row.add_bos), spec.add_eos.value_or(row.add_eos), byte_level(true));
  root["decoder"] = byte_level(true);
  root["model"] = model(vocabulary(spec), given_merges(spec), nullptr, false, row.ignore_merges);
}

Json merge_list(const VocabSpec& spec) {
  Vocabulary pieces;
  for (size_t i = 0; i < spec.tokens.size(); ++i) pieces.add(spec.tokens[i], static_cast<int64_t>(i));
  std::vector<bool> mergeable(spec.tokens.size());
  for (size_t i = 0; i < mergeable.size(); ++i) {
    const int32_t type = type_of(spec, i);
    mergeable[i] = type == 1 || type == 4 || type == 5;
  }
  std::vector<std::string> extra;
  Json list = Json::array();
  for (const Merge& m : merges_from_scores(pieces, spec.scores, mergeable, extra)) {  // best score first
    const auto* left = pieces.piece(static_cast<TokenId>(m.left));
    const auto* right = pieces.piece(static_cast<TokenId>(m.right));
    if (left && right) list.push_back({*left, *right});
    // Else a part is a character that is no token: tokenizer.json cannot merge it. Its piece stays
    // reachable only where the rest of the vocabulary builds it.
  }
  if (!extra.empty())
    logger().warn("[tokenizer] {} characters occur in pieces but are no tokens; tokenizer.json spells them in bytes", extra.size());
  return list;
}

std::string to_base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < n ? static_cast<uint8_t>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) out += k <= n ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

// SentencePiece's map and its handling of spaces, as transformers converts them.
Json character_rules(const VocabSpec& spec) {
  Json rules = Json::array();
  if (!spec.precompiled_charsmap.empty()) {
    rules.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", to_base64(spec.precompiled_charsmap)}});
    logger().warn("[tokenizer] tokenizer.json applies the character map by grapheme clusters, SentencePiece by the longest match; text with combining marks may get other ids");
  }
  if (spec.remove_extra_whitespaces.value_or(false)) {
    rules.push_back({{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}});
    rules.push_back({{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}});
  }
  return rules;
}

void fill_unigram(const VocabSpec& spec, Json& root) {
  const bool prefix = spec.add_space_prefix.value_or(true);
  Json rules = character_rules(spec);
  root["normalizer"] = rules.empty() ? Json(nullptr) : sequence("normalizers", std::move(rules));
  const Json mark = {{"type", "Metaspace"}, {"replacement", kMark}, {"prepend_scheme", prefix ? "always" : "never"}, {"split", false}};
  root["pre_tokenizer"] = mark;
  root["decoder"] = mark;
  root["post_processor"] = post_processor(spec, spec.add_bos.value_or(false), spec.add_eos.value_or(true), nullptr);
  Json pieces = Json::array();
  float lowest = 0.0f;
  for (const float score : spec.scores) lowest = std::min(lowest, score);
  bool bytes = false;
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    const int32_t type = type_of(spec, i);
    bytes = bytes || type == 6;
    // A piece that must not be chosen gets a score that no path takes.
    pieces.push_back({spec.tokens[i], type == 1 || type == 4 ? spec.scores[i] : type == 2 ? 0.0f : lowest - 1000.0f});
  }
  root["model"] = {{"type", "Unigram"}, {"unk_id", spec.unknown.value_or(2)}, {"vocab", std::move(pieces)}, {"byte_fallback", bytes}};
}

void fill_word_piece(const VocabSpec& spec, Json& root) {
  Json::object_t pieces;
  bool upper = false;
  Vocabulary seen;
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    const std::string piece = type_of(spec, i) == 1 ? word_piece_of(spec.tokens[i]) : spec.tokens[i];
    upper = upper || is_cased_piece(spec, i);
    if (seen.find(piece)) continue;
    seen.set(static_cast<TokenId>(i), piece);
    pieces.emplace_back(piece, i);
  }
  const auto name = [&](std::optional<TokenId> id, size_t otherwise) {
    const size_t at = id ? static_cast<size_t>(*id) : otherwise;
    return at < spec.tokens.size() ? spec.tokens[at] : std::string("[UNK]");
  };
  root["normalizer"] = {{"type", "BertNormalizer"}, {"clean_text", true}, {"handle_chinese_chars", true}, {"strip_accents", spec.strip_accents ? Json(*spec.strip_accents) : Json(nullptr)}, {"lowercase", spec.lowercase.value_or(!upper)}};
  root["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  root["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  VocabSpec around = spec;
  around.bos = spec.classifier ? spec.classifier : spec.bos;
  around.eos = spec.separator ? spec.separator : spec.eos;
  root["post_processor"] = post_processor(around, spec.add_bos.value_or(true), spec.add_eos.value_or(true), nullptr);
  root["model"] = {{"type", "WordPiece"}, {"unk_token", name(spec.unknown, 100)}, {"continuing_subword_prefix", "##"},
                   {"max_input_chars_per_word", 100}, {"vocab", Json(std::move(pieces))}};
}

void fill_sentencepiece(const VocabSpec& spec, Json& root) {
  const bool prefix = spec.add_space_prefix.value_or(true);
  Json normalizers = character_rules(spec);
  if (prefix) normalizers.push_back({{"type", "Prepend"}, {"prepend", kMark}});
  normalizers.push_back(replace(" ", kMark));
  root["normalizer"] = sequence("normalizers", std::move(normalizers));
  root["pre_tokenizer"] = nullptr;
  root["post_processor"] = post_processor(spec, spec.add_bos.value_or(true), spec.add_eos.value_or(false), nullptr);
  Json decoders = Json::array({replace(kMark, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
  if (prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  root["decoder"] = sequence("decoders", std::move(decoders));
  const Json unknown = spec.unknown ? Json(spec.tokens[static_cast<size_t>(*spec.unknown)]) : Json(nullptr);
  root["model"] = model(vocabulary(spec), merge_list(spec), unknown, true, false);
}

}  // namespace

std::string json_from_vocab_spec(const VocabSpec& spec) {
  Json root = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"added_tokens", added_tokens(spec)}};
  using Fill = void (*)(const VocabSpec&, Json&);
  static constexpr std::pair<const char*, Fill> kModels[] = {
      {"gpt2", fill_byte_level}, {"llama", fill_sentencepiece}, {"t5", fill_unigram}, {"bert", fill_word_piece}, {"gemma4", fill_raw}};
  Fill fill = nullptr;
  for (const auto& [name, function] : kModels)
    if (spec.model == name) fill = function;
  if (fill) fill(spec, root);
  else fail(ErrorKind::kUnsupported, "[tokenizer] vocabulary model '{}' has no tokenizer.json form here", spec.model);
  return dump_json(root, 2);
}

}  // namespace hone::text
