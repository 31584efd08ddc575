// SentencePiece's normalizer and decoder (normalizer.cc and sentencepiece_processor.cc of that project say
// what they do), and the tokenizer of a tokenizer.model.
#include <algorithm>

#include "base/log.h"
#include "text/charsmap.h"
#include "text/sentencepiece_model.h"
#include "text/trie.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

constexpr std::string_view kMark = "\xE2\x96\x81";

class SentencePieceNormalizer final : public Normalizer {
 public:
  SentencePieceNormalizer(const SentencePieceModel& model, std::string charsmap, bool prefix_everywhere)
      : map_(std::move(charsmap)),
        prefix_(model.add_dummy_prefix),
        prefix_everywhere_(prefix_everywhere),
        suffix_(model.whitespace_as_suffix),
        collapse_(model.remove_extra_whitespaces),
        space_(model.escape_whitespaces ? kMark : " ") {
    for (size_t i = 0; i < model.pieces.size(); ++i)
      if (model.types[i] == PieceType::kUserDefined) verbatim_.add(model.pieces[i], static_cast<int32_t>(i));
    for (int b = 0; b < 256; ++b) plain_[b] = b > ' ' && b < 0x80 && !map_.may_start(static_cast<char>(b));
    int32_t value = ByteTrie::kNone;
    for (int b = 0; b < 256; ++b) {
      uint32_t node = 0;
      if (verbatim_.step(node, static_cast<char>(b), value)) plain_[b] = false;
    }
  }

  void apply(std::string& text) const override { apply_part(text, true); }

  void apply_part(std::string& text, bool at_start) const override {
    if (text.empty()) return;
    std::string out;
    out.reserve(text.size() + text.size() / 8 + 8);
    const std::string_view in = text;
    const bool dummy = prefix_ && (at_start || prefix_everywhere_);
    size_t at = 0;
    while (collapse_ && at < in.size()) {  // leading spaces
      const auto [piece, length] = next(in, at);
      if (piece != " ") break;
      at += length;
    }
    if (at < in.size()) {
      if (!suffix_ && dummy) out += space_;
      normalize(in, at, out);
      while (collapse_ && out.ends_with(space_)) out.resize(out.size() - space_.size());
      if (suffix_ && dummy) out += space_;
    }
    text = std::move(out);
  }

 private:
  void normalize(std::string_view in, size_t at, std::string& out) const {
    bool after_space = collapse_;
    while (at < in.size()) {
      size_t run = at;
      while (run < in.size() && plain_[static_cast<uint8_t>(in[run])]) ++run;
      if (run > at) {
        out.append(in.data() + at, run - at);
        after_space = false;
        at = run;
        continue;
      }
      auto [piece, length] = next(in, at);
      at += length;
      while (after_space && piece.starts_with(' ')) piece.remove_prefix(1);
      if (!piece.empty()) {
        for (const char c : piece) {
          if (c == ' ')
            out += space_;
          else
            out += c;
        }
        after_space = collapse_ && piece.ends_with(' ');
      }
      check_growth(in.size(), out.size());
    }
  }

  struct Step {
    std::string_view text;
    size_t length;  // bytes of the input it stands for
  };
  Step next(std::string_view in, size_t at) const {
    if (const size_t n = verbatim_.longest(in, at); n) return {in.substr(at, n), n};
    if (map_.may_start(in[at]))
      if (const auto match = map_.longest(in.substr(at)); match.length)
        return {match.replacement, match.length};
    const size_t n = decode_utf8(in, at).length;
    return {in.substr(at, n), n};
  }

  CharsMap map_;
  ByteTrie verbatim_;  // user-defined symbols are never changed
  bool prefix_, prefix_everywhere_, suffix_, collapse_;
  std::string_view space_;
  bool plain_[256] = {};
};

class SentencePieceDecoder final : public Decoder {
 public:
  explicit SentencePieceDecoder(const SentencePieceModel& model)
      : unknown_(model.pieces[static_cast<size_t>(model.unknown)]),
        surface_(model.unknown_surface),
        drop_one_(model.add_dummy_prefix || model.remove_extra_whitespaces),
        drop_all_(model.remove_extra_whitespaces),
        bytes_(std::find(model.types.begin(), model.types.end(), PieceType::kByte) != model.types.end()) {
    if (!model.reverse_charsmap.empty()) {
      SentencePieceModel plain;
      plain.add_dummy_prefix = plain.remove_extra_whitespaces = plain.escape_whitespaces = false;
      reverse_ = std::make_unique<SentencePieceNormalizer>(plain, model.reverse_charsmap, false);
    }
  }

  void apply(std::vector<std::string>& tokens) const override {
    std::string text;
    std::string bytes;
    bool seen_space = false, at_start = true;
    for (const std::string& token : tokens) {
      if (const int byte = bytes_ ? byte_of_token(token) : -1; byte >= 0) {
        bytes += static_cast<char>(byte);
        continue;
      }
      flush(bytes, text);
      if (seen_space || !text.empty()) at_start = false;
      if (token == unknown_) {
        text += surface_;
        seen_space = false;
        continue;
      }
      std::string_view rest = token;
      if (at_start && drop_one_ && rest.starts_with(kMark)) {
        rest.remove_prefix(kMark.size());
        seen_space = !drop_all_;
      }
      text += replace_all(rest, kMark, " ");
    }
    flush(bytes, text);
    if (reverse_) reverse_->apply(text);
    tokens.assign(1, std::move(text));
  }

  void apply_one(std::string& token) const override {
    const int byte = bytes_ ? byte_of_token(token) : -1;
    if (byte >= 0)
      token.assign(1, static_cast<char>(byte));
    else if (token == unknown_)
      token = surface_;
    else
      token = replace_all(token, kMark, " ");
  }

 private:
  // One U+FFFD for every byte that is part of no character.
  static void flush(std::string& bytes, std::string& text) {
    for (size_t i = 0; i < bytes.size();) {
      const Decoded d = decode_utf8(bytes, i);
      if (d.valid)
        text.append(bytes, i, d.length);
      else
        for (uint32_t n = 0; n < d.length; ++n) text += "\xEF\xBF\xBD";
      i += d.length;
    }
    bytes.clear();
  }

  std::string unknown_, surface_;
  bool drop_one_, drop_all_, bytes_;
  std::unique_ptr<SentencePieceNormalizer> reverse_;
};

// The members of added_tokens_decoder: {"<id>": {content, single_word, lstrip, rstrip, normalized, special}}.
void add_configured_tokens(const Doc& config, size_t pieces, std::vector<AddedToken>& added) {
  const char* what = "tokenizer_config.json added_tokens_decoder";
  const Doc* list = doc_find(config, "added_tokens_decoder");
  if (!list) return;
  if (!list->is_object()) fail(ErrorKind::kBadInput, "[tokenizer] {}: not an object", what);
  for (auto it = list->begin(); it != list->end(); ++it) {
    const std::string& key = it.key();
    if (key.empty() || key.size() > 9 || key.find_first_not_of("0123456789") != std::string::npos)
      fail(ErrorKind::kBadInput, "[tokenizer] {}: '{}' is not an id", what, key.substr(0, 40));
    AddedToken token;
    token.id = static_cast<TokenId>(std::stol(key));
    if (static_cast<size_t>(token.id) > pieces + list->size() + (1u << 17))
      fail(ErrorKind::kBadInput, "[tokenizer] {}: id {} is out of range", what, token.id);
    token.content = doc_string(*it, "content", what);
    token.special = doc_bool_or(*it, "special", false, what);
    token.single_word = doc_bool_or(*it, "single_word", false, what);
    token.lstrip = doc_bool_or(*it, "lstrip", false, what);
    token.rstrip = doc_bool_or(*it, "rstrip", false, what);
    const auto same =
        std::find_if(added.begin(), added.end(), [&](const AddedToken& t) { return t.id == token.id; });
    if (same != added.end())
      *same = std::move(token);
    else
      added.push_back(std::move(token));
  }
}

// Which of BOS and EOS the tokenizer class adds when the configuration does not say.
struct Affixes {
  bool bos = false, eos = false;
};
Affixes affixes_of(const Doc& config) {
  const char* what = "tokenizer_config.json";
  static constexpr std::pair<const char*, Affixes> kClasses[] = {
      {"LlamaTokenizer", {true, false}},     {"LlamaTokenizerFast", {true, false}},
      {"CodeLlamaTokenizer", {true, false}}, {"GemmaTokenizer", {true, false}},
      {"GemmaTokenizerFast", {true, false}}, {"T5Tokenizer", {false, true}},
      {"T5TokenizerFast", {false, true}},    {"PegasusTokenizer", {false, true}},
      {"MT5Tokenizer", {false, true}},
  };
  Affixes affixes;
  const std::string name = doc_string_or(config, "tokenizer_class", "", what);
  for (const auto& [known, value] : kClasses)
    if (name == known) affixes = value;
  affixes.bos = doc_bool_or(config, "add_bos_token", affixes.bos, what);
  affixes.eos = doc_bool_or(config, "add_eos_token", affixes.eos, what);
  return affixes;
}

}  // namespace

void build_sentencepiece(const SentencePieceModel& model, bool prefix_after_tokens, TokenizerParts& parts) {
  parts.normalizer = std::make_unique<SentencePieceNormalizer>(model, model.charsmap, prefix_after_tokens);
  parts.decoder = std::make_unique<SentencePieceDecoder>(model);
  parts.model = make_sentencepiece_model(model);
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    if (model.types[i] != PieceType::kControl) continue;
    AddedToken token;
    token.content = model.pieces[i];
    token.id = static_cast<TokenId>(i);
    token.special = true;
    parts.added.push_back(std::move(token));
  }
  const auto id_or_none = [](int32_t id) { return id < 0 ? std::nullopt : std::optional<TokenId>(id); };
  parts.bos = id_or_none(model.bos);
  parts.eos = id_or_none(model.eos);
}

std::unique_ptr<Tokenizer> tokenizer_from_sentencepiece(std::string_view bytes,
                                                        std::string_view tokenizer_config_json) {
  const SentencePieceModel model = parse_sentencepiece(bytes);
  const Doc config = tokenizer_config_json.empty()
                         ? Doc::object()
                         : parse_document(tokenizer_config_json, "tokenizer_config.json");
  if (!config.is_object()) fail(ErrorKind::kBadInput, "[tokenizer] tokenizer_config.json: not an object");
  TokenizerParts parts;
  build_sentencepiece(model, doc_bool_or(config, "legacy", true, "tokenizer_config.json"), parts);
  add_configured_tokens(config, model.pieces.size(), parts.added);
  const auto named = [&](const char* key, std::optional<TokenId> otherwise) {
    const auto name = config_token(config, key);
    if (!name) return otherwise;
    for (const AddedToken& token : parts.added)
      if (token.content == *name) return std::optional<TokenId>(token.id);
    return parts.model->vocabulary().find(*name);
  };
  parts.bos = named("bos_token", parts.bos);
  parts.eos = named("eos_token", parts.eos);
  const Affixes affixes = affixes_of(config);
  std::vector<TokenId> before, after;
  if (affixes.bos && parts.bos) before.push_back(*parts.bos);
  if (affixes.eos && parts.eos) after.push_back(*parts.eos);
  parts.post_processor = make_affixes(std::move(before), std::move(after));

  VocabSpec spec = vocab_spec_of(model);
  spec.bos = parts.bos;
  spec.eos = parts.eos;
  spec.add_bos = affixes.bos;
  spec.add_eos = affixes.eos;
  for (const AddedToken& token : parts.added) {
    const auto id = static_cast<size_t>(token.id);
    for (size_t i = spec.tokens.size(); i <= id; ++i) {
      spec.tokens.push_back(fmt::format("[PAD{}]", i));
      spec.scores.push_back(0.0f);
      spec.types.push_back(static_cast<int32_t>(PieceType::kUnused));
    }
    if (id < model.pieces.size() && model.pieces[id] == token.content &&
        model.types[id] == PieceType::kUnknown)
      continue;
    spec.tokens[id] = token.content;
    spec.types[id] = static_cast<int32_t>(token.special ? PieceType::kControl : PieceType::kUserDefined);
  }
  parts.spec = std::move(spec);
  return make_pipeline_tokenizer(std::move(parts));
}

VocabSpec vocab_spec_of(const SentencePieceModel& model) {
  VocabSpec spec;
  spec.model = model.kind == SentencePieceModel::Kind::kUnigram ? "t5" : "llama";
  spec.pre = "default";
  spec.tokens = model.pieces;
  spec.scores = model.scores;
  for (const PieceType type : model.types) spec.types.push_back(static_cast<int32_t>(type));
  spec.unknown = model.unknown;
  if (model.pad >= 0) spec.padding = model.pad;
  spec.add_space_prefix = model.add_dummy_prefix;
  spec.remove_extra_whitespaces = model.remove_extra_whitespaces;
  spec.precompiled_charsmap = model.charsmap;
  if (model.kind == SentencePieceModel::Kind::kWord || model.kind == SentencePieceModel::Kind::kChar)
    spec.refusal = "GGUF has no model for SentencePiece's WORD and CHAR types";
  if (model.whitespace_as_suffix) spec.refusal = "GGUF cannot say treat_whitespace_as_suffix";
  if (!model.escape_whitespaces) spec.refusal = "GGUF cannot say escape_whitespaces = false";
  if (!model.reverse_charsmap.empty()) spec.refusal = "GGUF cannot carry a denormalizer";
  return spec;
}

// The other way, for a GGUF file.
SentencePieceModel sentencepiece_of(const VocabSpec& spec) {
  SentencePieceModel model;
  model.kind = spec.model == "t5" ? SentencePieceModel::Kind::kUnigram : SentencePieceModel::Kind::kBpe;
  model.pieces = spec.tokens;
  model.scores = spec.scores;
  size_t bytes = 0;
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    const int32_t type = spec.types.empty() ? 1 : spec.types[i];
    model.types.push_back(type >= 1 && type <= 6 ? static_cast<PieceType>(type) : PieceType::kNormal);
    if (model.pieces[i].empty() || !is_valid_utf8(model.pieces[i])) {
      model.pieces[i] = fmt::format("[PAD{}]", i);
      model.types[i] = PieceType::kUnused;
    }
    bytes += model.types[i] == PieceType::kByte && byte_of_token(model.pieces[i]) >= 0;
  }
  model.unknown = spec.unknown.value_or(spec.model == "t5" ? 2 : 0);
  if (static_cast<size_t>(model.unknown) >= model.pieces.size())
    fail(ErrorKind::kBadInput, "[tokenizer] the vocabulary has no unknown token");
  model.byte_fallback = bytes == 256;
  model.charsmap = spec.precompiled_charsmap;
  model.add_dummy_prefix = spec.add_space_prefix.value_or(true);
  model.remove_extra_whitespaces = spec.remove_extra_whitespaces.value_or(false);
  return model;
}

}  // namespace hone::text
