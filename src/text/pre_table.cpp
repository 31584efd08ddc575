#include "text/pre_table.h"

#include <algorithm>

#include "base/error.h"
#include "text/pipeline.h"

namespace hone::text {
namespace {

const std::string A = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";  // contractions
const std::string W = R"([^\r\n\p{L}\p{N}]?\p{L}+)";                                 // a word and what it hangs on
const std::string P = R"( ?[^\s\p{L}\p{N}]+[\r\n]*)", PS = R"( ?[^\s\p{L}\p{N}]+[\r\n/]*)";  // punctuation
const std::string S = R"(\s*[\r\n]+|\s+(?!\S)|\s+)";                                 // spaces
const std::string G = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";  // GPT-2
const std::string U = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)";
const std::string V = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)";
const std::string kDeepSeek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|)" + S;
// Spark's: a line end is a piece of its own.
const std::string kSpark =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+)";
const std::string kHanKana = "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+";
const std::string kLlama3 = A + "|" + W + R"(|\p{N}{1,3}|)" + P + "|" + S;
const std::string kQwen2 = A + "|" + W + R"(|\p{N}|)" + P + "|" + S;
const std::string kGpt4o = U + A + "?|" + V + A + R"(?|\p{N}{1,3}|)" + PS + "|" + S;
// DeepSeek LLM's letters: every cased one, by ranges.
const char* const kDeepSeekWords =
    R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-)"
    R"(ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ)"
    R"(-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ)"
    R"(-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)";
// Kimi K2's own pattern (of its tiktoken file): Han apart from other letters.
const std::string H = R"((?:(?!\p{sc:Han})[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]))", h = R"((?:(?!\p{sc:Han})[\p{Ll}\p{Lm}\p{Lo}\p{M}]))";
const std::string kKimi = R"(\p{sc:Han}+|[^\r\n\p{L}\p{N}]?)" + H + "*" + h + "+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|" + R"([^\r\n\p{L}\p{N}]?)" + H + "+" + h +
                          "*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|" + R"(\p{N}{1,3}|)" + P + "|" + S;
// Runs of numbers in groups of three from the right; the expression of llama.cpp's own code.
const std::string kNumberGroups = R"(\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N})))";
// Scripts of East and South East Asia, by llama.cpp's ranges.
const std::string kAsian =
    "[\u4E00-\u9FFF\u3400-\u4DBF\u8C48-\uFAFF\u3040-\u309F\u30A0-\u30FF\uFF65-\uFF9F\u2F00-\u2FDF\u0E40-\u0E7F\u0E80-\u0EFF\u1780-\u17FF"
    "\u1000-\u109F\uAA60-\uAA7F\uA9E0-\uA9FF\uAC00-\uD7AF\u1100-\u11FF]+";
// Hangul, East Asian punctuation, Bopomofo, Han and kana apart.
const std::string kYoutuScripts =
    "[\uAC00-\uD7A3\u3131-\u318E]+|[\uFF01\u2026\u201C\u201D\u2018\u2019\u2014\uFF1A\uFF1B\uFF0C\u3001-\u303F\uFE30-\uFE4F]+|"
    "[\u3105-\u312F]+|" + kHanKana;
const std::string kBloom = R"( ?[^(\s|.,!?…。，、।۔،)]+)";

const std::vector<PreTokenizerRow>& table() {
  static const std::vector<PreTokenizerRow> rows = {
      {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"}, {kLlama3}, true, true},
      {{"smaug-bpe", "dbrx"}, {kLlama3}},
      {{"glm4", "chatglm-bpe"}, {kLlama3}},
      {{"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"}, {kQwen2}},
      {{"qwen35"},
       {A + R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)" + S}},
      {{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, {kGpt4o}},
      {{"granite-embed-multi-97m"}, {kGpt4o}, true},
      {{"tekken"}, {U + "|" + V + R"(|\p{N}|)" + PS + "|" + S}, true, true},
      {{"gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4", "gigachat", "a.x-4.0", "mellum", "modern-bert", "jina-es", "jina-de",
        "jina-v2-es", "jina-v2-de", "trillion", "granite-docling"},
       {G}},
      {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"}, {R"(\p{N})", G}},
      {{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"}, {R"(\p{N}{1,3})", kHanKana, kDeepSeek3}},
      {{"deepseek-coder"},
       {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", R"([一-龥\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)", R"(\p{N})"}},
      {{"deepseek-llm"},
       {R"([\r\n])", kDeepSeekWords, R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)", R"(\s+$)", R"([一-龥\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)", R"(\p{N}+)"}},
      {{"jais-2"},
       {A + "|" + W + R"(|\p{N}{1,3}|)" + P + R"(|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S))" +
        R"(|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})"}},
      {{"kimi-k2"}, {kKimi}, true},
      {{"roberta-bpe", "jina-v1-en", "jina-v2-code"}, {G}, false, true, true},
      {{"gemma4", "sarvam-moe", "granite-embed-multi-311m"}, {}, false, false, false, true},
      {{"default"}, {R"([\p{P}\$\+<=>\^~\|]+)", G, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
      {{"falcon"}, {R"([\p{P}\$\+<=>\^~\|`]+)", G, "[0-9][0-9][0-9]"}},
      {{"bloom", "poro-chat", "gpt3-finnish"}, {kBloom}},
      {{"viking"}, {kBloom, R"(\p{N})"}},
      {{"bailingmoe", "bailingmoe2", "llada-moe"},
       {"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|" + W + R"(|\p{N}|)" + P + R"(|\s*[\r\n]|\s+(?!\S)|\s+)"}},
      {{"seed-coder"}, {A + "|" + W + R"(|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|)" + S}},
      {{"tiny_aya", "cohere2moe"}, {R"(\d{1,3}(?=(?:\d{3})*\b))", kGpt4o}},
      {{"superbpe"}, {R"(\p{N}+)", R"((?=(\d{3})+(?!\d)))"}},
      {{"minicpm5"}, {R"(\p{N}{1,3})", A + "|" + W + R"(|\p{N}+|)" + P + "|" + S}, true},
      {{"exaone-moe"},
       {A + R"(|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)"}},
      {{"laguna"}, {R"([^\n]+|[\n]+)", kQwen2}},
      {{"afmoe"}, {kNumberGroups, kAsian, kDeepSeek3}},
      {{"youtu"}, {kYoutuScripts, U + A + "?|" + V + A + R"(?|\p{N}|)" + PS + "|" + S}, true},
      {{"chameleon"},
       {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", R"(([\t\n]|    |  ))", R"(\p{N})", R"([\p{P}!-/:-@\[-`{-~])", G}, false, true},
      {{"spark2_5"}, {R"(\p{N})", kHanKana, kSpark}},
      {{"whitespace"}, {}, false, true, true, false, true},
      {{"ufakzeka"}, {W + R"(|\p{N}|)" + P + "|" + S}},
  };
  return rows;
}

void replace_first(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
}

// Two spellings of one expression compare equal after this. A last `\s+` is dropped because the gap
// between matches is a piece anyway.
std::string canonical(std::string regex) {
  replace_first(regex, "(?i:'s|'t|'re|'ve|'m|'ll|'d)", A);
  replace_first(regex, "(?i:[sdmt]|ll|ve|re)", "(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])");
  replace_first(regex, "'(?:[sdmt]|ll|ve|re)|", "'s|'t|'re|'ve|'m|'ll|'d|");
  replace_first(regex, "\\p{N}{1}|", "\\p{N}|");
  if (regex.ends_with("|\\s+")) regex.resize(regex.size() - 4);
  return regex;
}

std::vector<std::string> canonical(const std::vector<std::string>& regexes) {
  std::vector<std::string> out;
  for (const std::string& r : regexes) out.push_back(canonical(r));
  return out;
}

}  // namespace

const PreTokenizerRow& find_pre_tokenizer(std::string_view name) {
  for (const PreTokenizerRow& row : table())
    for (const char* n : row.names)
      if (name == n) return row;
  fail(ErrorKind::kUnsupported, "[tokenizer] pre-tokenizer '{}' is not known; use the model's tokenizer.json", name);
}

std::optional<std::string> name_of_chain(const std::vector<std::string>& regexes, bool ignore_merges) {
  const std::vector<std::string> wanted = canonical(regexes);
  for (const PreTokenizerRow& row : table())
    if (!row.raw && !row.words && row.ignore_merges == ignore_merges && canonical(row.regexes) == wanted) return row.names.front();
  return std::nullopt;
}

}  // namespace hone::text
