// tokenizer.model against what the package sentencepiece gave (tests/tools/make_sentencepiece_fixtures.py),
// for every model type and option, and against the full nmt_nfkc map in ../shared/data.
#include <sstream>

#include "base/error.h"
#include "text/test_support.h"
#include "text/tokenizer.h"

namespace hone::text {
namespace {

using namespace testing;

std::string from_base64(const std::string& text) {
  static const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const size_t digit = digits.find(c);
    if (digit == std::string::npos) break;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if ((count += 6) < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count);
  }
  return out;
}

std::vector<TokenId> ids_from(const std::string& text) {
  std::vector<TokenId> ids;
  std::istringstream in(text);
  for (TokenId id; in >> id;) ids.push_back(id);
  return ids;
}

// As the package: the text spells no control symbol, and nothing is put around it.
constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};

const Json& fixture() {
  static const Json json = read_json(source_dir() / "tests/data/text/sentencepiece.json");
  return json;
}
const Json& model_named(const std::string& name) {
  for (const Json& m : fixture()["models"])
    if (m["name"] == name) return m;
  throw std::runtime_error("no model " + name);
}
std::string bytes_of(const Json& model) {
  return from_base64(model["model"]);
}

TEST(SentencePiece, IdsAndTextsEqualThePackage) {
  ASSERT_GE(fixture()["models"].size(), 18u);
  for (const Json& m : fixture()["models"]) {
    SCOPED_TRACE(m["name"].get<std::string>());
    const auto tokenizer = tokenizer_from_sentencepiece(bytes_of(m));
    EXPECT_EQ(tokenizer->vocab_size(), m["size"].get<size_t>());
    EXPECT_EQ(tokenizer->bos.value_or(-1), m["bos"].get<int>());
    EXPECT_EQ(tokenizer->eos.value_or(-1), m["eos"].get<int>());
    for (size_t i = 0; i < fixture()["texts"].size(); ++i) {
      const std::string text = fixture()["texts"][i];
      const auto ids = ids_from(m["ids"][i]);
      EXPECT_EQ(tokenizer->encode(text, kPlain), ids) << '"' << text << '"';
      EXPECT_EQ(tokenizer->decode(ids), m["texts"][i].get<std::string>()) << '"' << text << '"';
    }
    for (size_t i = 0; i < m["random_ids"].size(); ++i)
      EXPECT_EQ(tokenizer->decode(ids_from(m["random_ids"][i])), m["random_texts"][i].get<std::string>())
          << m["random_ids"][i];
  }
}

TEST(SentencePiece, StreamsWholeCharactersAndTheSameText) {
  for (const Json& m : fixture()["models"]) {
    const std::string name = m["name"];
    if (name == "unigram-rules") continue;  // its denormalizer rewrites finished texts
    SCOPED_TRACE(name);
    const auto tokenizer = tokenizer_from_sentencepiece(bytes_of(m));
    for (size_t i = 0; i < m["ids"].size(); ++i) {
      StreamDecoder stream(*tokenizer, true, false);
      std::string text;
      for (const TokenId id : ids_from(m["ids"][i])) {
        const std::string part = stream.push(id);
        EXPECT_EQ(part, Json(part).get<std::string>());
        text += part;
      }
      EXPECT_EQ(text + stream.finish(), m["texts"][i].get<std::string>()) << m["ids"][i];
    }
  }
}

TEST(SentencePiece, FullCharacterMapOfTheSharedModel) {
  const auto folder = std::filesystem::path("tokenizers") / "unigram-nfkc";
  HONE_NEED_SHARED(folder / "tokenizer.model");
  const auto tokenizer =
      tokenizer_from_sentencepiece(read_text_file(shared_data() / folder / "tokenizer.model"));
  const Json tests = read_json(shared_data() / folder / "tests.json");
  size_t compared = 0;
  for (const Json& t : tests["tests"]) {
    ++compared;
    EXPECT_EQ(tokenizer->encode(t["text"].get<std::string>(), kPlain),
              t["model_ids"].get<std::vector<TokenId>>())
        << t["text"];
    EXPECT_EQ(tokenizer->decode(t["model_ids"].get<std::vector<TokenId>>()),
              t["model_decoded"].get<std::string>())
        << t["text"];
  }
  EXPECT_GT(compared, 100u);
}

TEST(SentencePiece, GgufKeysGiveTheSameIds) {
  for (const char* name : {"bpe-llama", "bpe-rules", "bpe-bytes", "unigram", "unigram-bytes",
                           "unigram-symbols", "unigram-unused"}) {
    SCOPED_TRACE(name);
    const Json& m = model_named(name);
    const VocabSpec spec = tokenizer_from_sentencepiece(bytes_of(m))->to_vocab_spec();
    EXPECT_EQ(spec.model, std::string(name).starts_with("bpe") ? "llama" : "t5");
    const auto again = tokenizer_from_vocab(spec);
    for (size_t i = 0; i < fixture()["texts"].size(); ++i) {
      const std::string text = fixture()["texts"][i];
      const auto ids = ids_from(m["ids"][i]);
      EXPECT_EQ(again->encode(text, kPlain), ids) << '"' << text << '"';
      EXPECT_EQ(again->decode(ids), m["texts"][i].get<std::string>()) << '"' << text << '"';
    }
  }
}

TEST(SentencePiece, FormsThatGgufLacksAreRefused) {
  for (const char* name : {"word", "char", "bpe-suffix", "unigram-unescaped", "unigram-rules"}) {
    const auto tokenizer = tokenizer_from_sentencepiece(bytes_of(model_named(name)));
    EXPECT_THROW(tokenizer->to_vocab_spec(), Error) << name;
  }
}

TEST(SentencePiece, ConfigurationAddsTokensAndAffixes) {
  const std::string bytes = bytes_of(model_named("bpe-llama"));
  const std::string added =
      R"("added_tokens_decoder":{"0":{"content":"<unk>","special":true},"1":{"content":"<s>","special":true},
    "2":{"content":"</s>","special":true},"420":{"content":"<|im_end|>","special":true},"421":{"content":"<think>","special":false}})";
  const auto plain = tokenizer_from_sentencepiece(bytes);
  const auto legacy = tokenizer_from_sentencepiece(
      bytes, R"({"tokenizer_class":"LlamaTokenizer","eos_token":"<|im_end|>",)" + added + "}");
  const auto fresh = tokenizer_from_sentencepiece(
      bytes, R"({"legacy":false,"add_bos_token":false,"add_eos_token":true,)" + added + "}");
  const auto ids = [&](const char* text) { return plain->encode(text, kPlain); };
  std::vector<TokenId> expected = {1};
  for (const TokenId id : ids("fox")) expected.push_back(id);
  expected.push_back(420);
  for (const TokenId id : ids("foo")) expected.push_back(id);
  EXPECT_EQ(legacy->encode("fox<|im_end|>foo"), expected);
  EXPECT_EQ(legacy->eos, 420);
  EXPECT_EQ(legacy->end_of_turn.front(), 420);
  EXPECT_EQ(legacy->decode({420, 421}), "<think>");
  EXPECT_EQ(fresh->encode("").back(), 2);
  // Behind a token no dummy prefix is put.
  const auto behind = fresh->encode("<think>fox", {.add_special = false});
  ASSERT_GE(behind.size(), 2u);
  EXPECT_EQ(behind[0], 421);
  EXPECT_EQ(fresh->decode({behind.begin() + 1, behind.end()}), "fox");
  EXPECT_NE(std::vector<TokenId>(behind.begin() + 1, behind.end()), ids("fox"));
  const VocabSpec spec = legacy->to_vocab_spec();
  ASSERT_EQ(spec.tokens.size(), 422u);
  EXPECT_EQ(spec.types[420], 3);
  EXPECT_EQ(spec.types[421], 4);
  EXPECT_EQ(spec.add_bos, true);
  EXPECT_EQ(spec.eos, 420);
}

TEST(SentencePiece, DamagedFilesAreErrors) {
  const std::string bytes = bytes_of(model_named("bpe"));
  EXPECT_THROW(tokenizer_from_sentencepiece(""), Error);
  EXPECT_THROW(tokenizer_from_sentencepiece("not a model"), Error);
  EXPECT_THROW(tokenizer_from_sentencepiece(bytes + bytes), Error);  // every piece twice
  size_t refused = 0;
  for (size_t cut = 1; cut < bytes.size(); cut += 97) {
    try {
      tokenizer_from_sentencepiece(bytes.substr(0, cut));
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, bytes.size() / 97 / 2);
}

}  // namespace
}  // namespace hone::text
