// tokenizer.json -> GGUF keys. Refuses what llama.cpp would tokenize differently.
#include <algorithm>
#include <set>

#include "base/log.h"
#include "text/bpe.h"
#include "text/pipeline_tokenizer.h"
#include "text/pre_table.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

constexpr const char* kMark = "\xE2\x96\x81";

[[noreturn]] void refuse(const std::string& why) {
  fail(ErrorKind::kUnsupported, "[tokenizer] this tokenizer.json cannot be written to GGUF exactly: {}", why);
}

// Components of a Sequence, or the one component, or none.
std::vector<Doc> components(const Doc& root, const char* key, const char* list) {
  const Doc* part = doc_find(root, key);
  if (!part) return {};
  if (doc_type(*part, key) != "Sequence") return {*part};
  const Doc& items = doc_array(*part, list, key);
  return {items.begin(), items.end()};
}

// The regular expressions of a chain that ends in ByteLevel.
std::vector<std::string> byte_level_chain(const std::vector<Doc>& parts) {
  std::vector<std::string> regexes;
  for (const Doc& part : parts) {
    const std::string& type = doc_type(part, "pre_tokenizer");
    if (type == "Digits") {
      regexes.push_back(doc_bool_or(part, "individual_digits", false, type) ? "\\p{N}" : "\\p{N}+");
    } else if (type == "Split") {
      const Doc& pattern = doc_member(part, "pattern", type);
      const bool inverted = doc_bool_or(part, "invert", false, type);
      const std::string& behavior = doc_string(part, "behavior", type);
      // Every character is in a match or a gap, so Removed + inverted is Isolated when gaps are empty; only
      // the plain form is taken.
      if (inverted || behavior != "Isolated" || !doc_find(pattern, "Regex")) refuse("a Split that is not 'Isolated' by a regular expression");
      regexes.push_back(doc_string(pattern, "Regex", type));
    } else if (type == "ByteLevel") {
      if (doc_bool_or(part, "add_prefix_space", true, type)) refuse("ByteLevel with add_prefix_space");
      if (doc_bool_or(part, "use_regex", true, type)) regexes.emplace_back(kGpt2Pattern);
    } else {
      refuse("pre-tokenizer '" + type + "'");
    }
  }
  return regexes;
}

void export_added_tokens(const Doc& root, VocabSpec& spec, std::vector<bool>& present) {
  const Doc* list = doc_find(root, "added_tokens");
  if (!list) return;
  bool flags_lost = false;
  for (const Doc& entry : *list) {
    const std::string& content = doc_string(entry, "content", "added token");
    const auto id = static_cast<size_t>(doc_int(entry, "id", "added token"));
    if (id > spec.tokens.size() + (1u << 17)) refuse("an added token's id is far outside the vocabulary");
    if (id >= spec.tokens.size()) {
      spec.tokens.resize(id + 1);
      spec.types.resize(id + 1, 1);
      present.resize(id + 1);
    }
    if (present[id] && spec.tokens[id] != content) refuse("an added token's id belongs to another piece");
    spec.tokens[id] = content;
    spec.types[id] = doc_bool_or(entry, "special", false, "added token") ? 3 : 4;
    present[id] = true;
    for (const char* flag : {"lstrip", "rstrip", "single_word"}) flags_lost = flags_lost || doc_bool_or(entry, flag, false, "added token");
  }
  if (flags_lost) logger().warn("[tokenizer] GGUF cannot carry lstrip, rstrip and single_word of added tokens; spaces beside them may differ");
}

void export_pieces(const Doc& root, VocabSpec& spec) {
  const Doc& vocab = doc_member(doc_member(root, "model", "tokenizer.json"), "vocab", "model");
  std::vector<bool> present;
  for (auto it = vocab.begin(); it != vocab.end(); ++it) {
    const auto id = it->get<size_t>();
    if (id >= spec.tokens.size()) {
      spec.tokens.resize(id + 1);
      spec.types.resize(id + 1, 1);
      present.resize(id + 1);
    }
    spec.tokens[id] = it.key();
    present[id] = true;
  }
  export_added_tokens(root, spec, present);
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    if (present[i]) continue;
    spec.tokens[i] = fmt::format("[PAD{}]", i);
    spec.types[i] = 5;
  }
}

std::pair<std::string, std::string> merge_parts(const Doc& merge) {
  if (merge.is_array()) return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  const auto& text = merge.get_ref<const std::string&>();
  const size_t space = text.find(' ', 1);
  return {text.substr(0, space), text.substr(space + 1)};
}

void export_byte_level(const Doc& root, VocabSpec& spec) {
  const Doc& model = doc_member(root, "model", "tokenizer.json");
  for (const Doc& part : components(root, "normalizer", "normalizers")) {
    const std::string& type = doc_type(part, "normalizer");
    if (type != "NFC") refuse("normalizer '" + type + "'");
    logger().warn("[tokenizer] GGUF cannot carry the NFC normalizer; text that is not in NFC may get other ids");
  }
  const bool ignore_merges = doc_bool_or(model, "ignore_merges", false, "model");
  const auto name = name_of_chain(byte_level_chain(components(root, "pre_tokenizer", "pretokenizers")), ignore_merges);
  if (!name) refuse("llama.cpp has no name for its pre-tokenizer chain");
  spec.model = "gpt2";
  spec.pre = *name;
  for (const Doc& merge : doc_array(model, "merges", "model")) {
    const auto [left, right] = merge_parts(merge);
    if (left.find(' ') != std::string::npos || right.find(' ') != std::string::npos) refuse("a merge with a space in it");
    spec.merges.push_back(left + " " + right);
  }
}

// Whether every text begins with the space mark; refuses other ways of handling spaces.
bool space_prefix(const Doc& root) {
  bool prepends = false, replaces = false;
  for (const Doc& part : components(root, "normalizer", "normalizers")) {
    const std::string& type = doc_type(part, "normalizer");
    if (type == "Prepend" && doc_string(part, "prepend", type) == kMark) {
      prepends = true;
    } else if (type == "Replace" && doc_string_or(doc_member(part, "pattern", type), "String", "", type) == " " &&
               doc_string(part, "content", type) == kMark) {
      replaces = true;
    } else {
      refuse("normalizer '" + type + "'");
    }
  }
  for (const Doc& part : components(root, "pre_tokenizer", "pretokenizers")) {
    const std::string& type = doc_type(part, "pre_tokenizer");
    if (type == "Metaspace") {
      const std::string scheme = doc_string_or(part, "prepend_scheme", doc_bool_or(part, "add_prefix_space", true, type) ? "always" : "never", type);
      replaces = true;
      prepends = prepends || scheme != "never";
      if (scheme == "first") logger().warn("[tokenizer] llama.cpp also puts a space after special tokens; ids there may differ");
      if (doc_bool_or(part, "split", true, type)) refuse("a Metaspace that splits");
    } else if (type == "Split" && replaces && doc_string_or(doc_member(part, "pattern", type), "String", "", type) == " ") {
      // Gemma's: no space is left to split at.
    } else {
      refuse("pre-tokenizer '" + type + "' with byte fallback");
    }
  }
  if (!replaces) refuse("spaces that stay spaces");
  return prepends;
}

// Scores that make SentencePiece's rule (merge the pair whose result scores highest) choose what the merge
// list chooses; checked, because a list trained by other tools can differ.
void export_scores(const Doc& root, VocabSpec& spec) {
  const Doc& list = doc_array(doc_member(root, "model", "tokenizer.json"), "merges", "model");
  Vocabulary vocabulary;
  for (size_t i = 0; i < spec.tokens.size(); ++i) vocabulary.add(spec.tokens[i], static_cast<int64_t>(i));
  std::vector<bool> mergeable(spec.tokens.size());
  for (size_t i = 0; i < mergeable.size(); ++i) mergeable[i] = spec.types[i] == 1;
  constexpr float kUnset = 1.0f;
  spec.scores.assign(spec.tokens.size(), kUnset);
  MergeTable wanted;
  float score = 0.0f;
  TokenId last = -1;
  for (const Doc& merge : list) {
    const auto [left, right] = merge_parts(merge);
    const TokenId result = vocabulary.find(left + right).value_or(-1);
    if (result < 0) refuse("a merge whose result is not in the vocabulary");
    float& s = spec.scores[static_cast<size_t>(result)];
    if (s == kUnset) s = score -= 1.0f;
    else if (result != last) refuse("its merges are not ordered by their results, as SentencePiece's are");
    last = result;
    const auto l = vocabulary.find(left), r = vocabulary.find(right);
    if (!l || !r) refuse("a merge whose parts are not in the vocabulary");
    wanted.insert(static_cast<uint32_t>(*l), static_cast<uint32_t>(*r), 0, static_cast<uint32_t>(result));
  }
  for (size_t i = 0; i < spec.scores.size(); ++i)
    if (spec.scores[i] == kUnset) spec.scores[i] = spec.types[i] == 1 ? score -= 1.0f : 0.0f;
  std::vector<std::string> extra;
  size_t found = 0;
  for (const Merge& m : merges_from_scores(vocabulary, spec.scores, mergeable, extra)) {
    if (!wanted.find(m.left, m.right)) refuse("SentencePiece's rule would make merges that its list does not have");
    ++found;
  }
  if (found != wanted.size()) refuse("its list has merges that SentencePiece's rule would not make");
}

void export_sentencepiece(const Doc& root, VocabSpec& spec) {
  spec.model = "llama";
  spec.pre = "default";
  spec.add_space_prefix = space_prefix(root);
  const Doc& model = doc_member(root, "model", "tokenizer.json");
  for (size_t i = 0; i < spec.tokens.size(); ++i)
    if (spec.types[i] == 1 && byte_of_token(spec.tokens[i]) >= 0) spec.types[i] = 6;
  if (const Doc* unknown = doc_find(model, "unk_token"); unknown && unknown->is_string()) {
    const auto it = std::find(spec.tokens.begin(), spec.tokens.end(), unknown->get<std::string>());
    if (it != spec.tokens.end()) {
      spec.unknown = static_cast<TokenId>(it - spec.tokens.begin());
      spec.types[static_cast<size_t>(*spec.unknown)] = 2;
    }
  }
  export_scores(root, spec);
}

// A "bert" vocabulary lowers texts and drops accents unless a key says otherwise that readers before 2026 lack.
void check_word_piece(const Doc& root) {
  const Doc& model = doc_member(root, "model", "tokenizer.json");
  const auto normalizers = components(root, "normalizer", "normalizers");
  if (normalizers.size() != 1 || doc_type(normalizers[0], "normalizer") != "BertNormalizer") refuse("WordPiece without BertNormalizer alone");
  for (const char* flag : {"clean_text", "handle_chinese_chars", "lowercase", "strip_accents"})
    if (!doc_bool_or(normalizers[0], flag, true, "normalizer")) refuse(std::string("BertNormalizer without ") + flag);
  const auto cuts = components(root, "pre_tokenizer", "pretokenizers");
  if (cuts.size() != 1 || doc_type(cuts[0], "pre_tokenizer") != "BertPreTokenizer") refuse("WordPiece without BertPreTokenizer alone");
  if (doc_string_or(model, "continuing_subword_prefix", "##", "model") != "##") refuse("a continuing_subword_prefix other than ##");
  if (doc_int_or(model, "max_input_chars_per_word", 100, "model") != 100) refuse("a max_input_chars_per_word other than 100");
  const auto decoders = components(root, "decoder", "decoders");
  if (decoders.size() != 1 || doc_type(decoders[0], "decoder") != "WordPiece" || !doc_bool_or(decoders[0], "cleanup", true, "decoder"))
    logger().warn("[tokenizer] GGUF cannot carry the decoder; ids may become text with other spaces");
}

// Pieces the way llama.cpp keeps them: a space mark before words instead of ## before the rest of them.
void export_word_piece(const Doc& root, VocabSpec& spec) {
  check_word_piece(root);
  spec.model = "bert";
  const auto find = [&](const std::string& piece) -> std::optional<TokenId> {
    const auto it = std::find(spec.tokens.begin(), spec.tokens.end(), piece);
    return it == spec.tokens.end() ? std::nullopt : std::optional<TokenId>(static_cast<TokenId>(it - spec.tokens.begin()));
  };
  spec.unknown = find(doc_string_or(doc_member(root, "model", "tokenizer.json"), "unk_token", "[UNK]", "model"));
  if (!spec.unknown) refuse("WordPiece without its unk_token");
  spec.padding = find("[PAD]");
  std::set<std::string> seen;
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    std::string& token = spec.tokens[i];
    const std::string piece = token;
    const bool bracketed = token.starts_with('[') && token.ends_with(']');
    if (spec.types[i] == 1 && token.starts_with("##") && token.size() > 2)
      token = token.substr(2);
    else if (spec.types[i] == 1 && !bracketed)
      token = kMark + token;
    if (spec.types[i] == 1 && word_piece_of(token) != piece) refuse("piece '" + piece + "', which \"bert\" would read as another");
    if (!seen.insert(token).second) refuse("piece '" + piece + "', which would be there twice");
  }
}

// [CLS] and [SEP] around every text, or one of them, or none.
void export_word_piece_affixes(const std::string& tokenizer_json, const std::string& config_json, VocabSpec& spec) {
  const std::unique_ptr<Tokenizer> tokenizer = tokenizer_from_json(tokenizer_json, config_json);
  const std::vector<TokenId> alone = tokenizer->encode("a", {.add_special = false}), with = tokenizer->encode("a");
  const auto at = std::search(with.begin(), with.end(), alone.begin(), alone.end());
  if (alone.empty() || at == with.end()) refuse("a template that does not keep the text");
  const auto before = at - with.begin(), after = (with.end() - at) - static_cast<ptrdiff_t>(alone.size());
  if (before > 1 || after > 1) refuse("a template with more than a first and a last token");
  spec.add_bos = before == 1;
  spec.add_eos = after == 1;
  spec.bos = spec.classifier = before == 1 ? std::optional<TokenId>(with.front()) : tokenizer->find("[CLS]");
  spec.eos = spec.separator = after == 1 ? std::optional<TokenId>(with.back()) : tokenizer->find("[SEP]");
}

// What the tokenizer puts around every text must be BOS and EOS.
void export_affixes(const std::string& tokenizer_json, const std::string& config_json, VocabSpec& spec) {
  const std::unique_ptr<Tokenizer> tokenizer = tokenizer_from_json(tokenizer_json, config_json);
  spec.bos = tokenizer->bos;
  spec.eos = tokenizer->eos;
  const std::vector<TokenId> around = tokenizer->encode("");
  spec.add_bos = spec.add_eos = false;
  if (around.empty()) return;
  // Where the file does not name them, the first token around the text is BOS.
  const auto begins = tokenizer->encode("a").front() == around.front();
  if (around.size() > 2) refuse("its template has more than a first and a last token");
  size_t used = 0;
  if (begins && (!spec.bos || *spec.bos == around.front())) {
    spec.bos = around.front();
    spec.add_bos = true;
    ++used;
  }
  if (used < around.size() && (!spec.eos || *spec.eos == around.back())) {
    spec.eos = around.back();
    spec.add_eos = true;
    ++used;
  }
  if (used != around.size()) refuse("its template has tokens that are neither BOS nor EOS");
}

}  // namespace

VocabSpec vocab_spec_from_json(const std::string& tokenizer_json, const std::string& config_json) {
  const Doc root = parse_document(tokenizer_json, "tokenizer.json");
  const Doc& model = doc_member(root, "model", "tokenizer.json");
  const std::string type = doc_string_or(model, "type", doc_find(model, "merges") ? "BPE" : "", "model");
  if (type == "WordPiece") {
    VocabSpec spec;
    export_pieces(root, spec);
    export_word_piece(root, spec);
    export_word_piece_affixes(tokenizer_json, config_json, spec);
    return spec;
  }
  if (type != "BPE") refuse("model '" + type + "'");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!doc_string_or(model, key, "", "model").empty()) refuse(std::string("model with ") + key);
  VocabSpec spec;
  export_pieces(root, spec);
  const auto decoders = components(root, "decoder", "decoders");
  const bool byte_level = decoders.size() == 1 && doc_type(decoders[0], "decoder") == "ByteLevel";
  if (byte_level) export_byte_level(root, spec);
  else if (doc_bool_or(model, "byte_fallback", false, "model")) export_sentencepiece(root, spec);
  else refuse("neither a byte-level decoder nor byte fallback");
  export_affixes(tokenizer_json, config_json, spec);
  if (config_json.empty()) return spec;
  const Doc config = parse_document(config_json, "tokenizer_config.json");
  const auto find = [&](const char* key) -> std::optional<TokenId> {
    const auto name = config_token(config, key);
    if (!name) return std::nullopt;
    const auto it = std::find(spec.tokens.begin(), spec.tokens.end(), *name);
    return it == spec.tokens.end() ? std::nullopt : std::optional<TokenId>(static_cast<TokenId>(it - spec.tokens.begin()));
  };
  if (!spec.unknown) spec.unknown = find("unk_token");
  spec.padding = find("pad_token");
  return spec;
}

}  // namespace hone::text
