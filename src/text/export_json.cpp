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

void fill_byte_level(const VocabSpec& spec, Json& root) {
  const PreTokenizerRow& row = find_pre_tokenizer(spec.pre.empty() ? "default" : spec.pre);
  Json parts = Json::array();
  for (const std::string& regex : row.regexes)
    parts.push_back({{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}});
  parts.push_back(byte_level(false));
  root["normalizer"] = nullptr;
  root["pre_tokenizer"] = sequence("pretokenizers", std::move(parts));
  root["post_processor"] = post_processor(spec, spec.add_bos.value_or(row.add_bos), spec.add_eos.value_or(false), byte_level(true));
  root["decoder"] = byte_level(true);
  Vocabulary pieces;
  for (size_t i = 0; i < spec.tokens.size(); ++i) pieces.add(spec.tokens[i], static_cast<int64_t>(i));
  Json merges = Json::array();
  for (const std::string& merge : spec.merges) {
    const size_t space = merge.find(' ', 1);
    if (space == std::string::npos) continue;
    const std::string left = merge.substr(0, space), right = merge.substr(space + 1);
    if (pieces.find(left) && pieces.find(right) && pieces.find(left + right)) merges.push_back({left, right});
  }
  root["model"] = model(vocabulary(spec), std::move(merges), nullptr, false, row.ignore_merges);
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

void fill_sentencepiece(const VocabSpec& spec, Json& root) {
  const bool prefix = spec.add_space_prefix.value_or(true);
  Json normalizers = Json::array();
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
  if (spec.model == "gpt2") fill_byte_level(spec, root);
  else if (spec.model == "llama") fill_sentencepiece(spec, root);
  else fail(ErrorKind::kUnsupported, "[tokenizer] vocabulary model '{}' has no tokenizer.json form here", spec.model);
  return dump_json(root, 2);
}

}  // namespace hone::text
