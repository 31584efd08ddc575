// WordPiece from tokenizer.json to the keys of GGUF and back: the ids of the package tokenizers, and what is
// refused.
#include "base/error.h"
#include "text/test_support.h"

namespace hone::text {
namespace {

using namespace testing;

std::vector<TokenId> ids_of(const Json& list) {
  return list.get<std::vector<TokenId>>();
}

TEST(ToVocabSpec, WordPieceThereAndBack) {
  HONE_NEED_SHARED("tokenizers/bert-uncased");
  const std::string json = read_text_file(shared_data() / "tokenizers/bert-uncased/tokenizer.json");
  const VocabSpec spec = tokenizer_from_json(json)->to_vocab_spec();
  EXPECT_EQ(spec.model, "bert");
  EXPECT_EQ(spec.tokens[0], "[PAD]");
  EXPECT_EQ(spec.tokens[5], "\u2581!");
  EXPECT_EQ(spec.types[4], 3);
  EXPECT_EQ(spec.unknown, 1);
  EXPECT_EQ(spec.classifier, 2);
  EXPECT_EQ(spec.separator, 3);
  EXPECT_EQ(spec.padding, 0);
  const Json pieces = Json::parse(json)["model"]["vocab"];
  for (const auto& [piece, id] : pieces.items()) {
    const std::string& token = spec.tokens[id.get<size_t>()];
    if (!piece.starts_with("##") || piece.size() == 2) continue;
    EXPECT_EQ("##" + token, piece);
  }
  const auto from_vocab = tokenizer_from_vocab(spec);
  const auto again = tokenizer_from_json(from_vocab->to_tokenizer_json());
  const Json tests = read_json(shared_data() / "tokenizers/bert-uncased/tests.json");
  ASSERT_GT(tests["tests"].size(), 100u);
  for (const auto* tokenizer : {&from_vocab, &again})
    for (const Json& t : tests["tests"]) {
      const std::string text = t["text"];
      EXPECT_EQ((*tokenizer)->encode(text, {.add_special = false}), ids_of(t["ids"])) << text;
      EXPECT_EQ((*tokenizer)->encode(text), ids_of(t["ids_special"])) << text;
      EXPECT_EQ((*tokenizer)->decode(ids_of(t["ids_special"]), true),
                t["decoded_skip_special"].get<std::string>())
          << text;
    }
}

Json word_piece_document() {
  return Json::parse(
      R"({"added_tokens":[{"id":0,"content":"[UNK]","special":true}],"normalizer":{"type":"BertNormalizer"},
    "pre_tokenizer":{"type":"BertPreTokenizer"},"decoder":{"type":"WordPiece"},
    "model":{"type":"WordPiece","unk_token":"[UNK]","vocab":{"[UNK]":0,"a":1,"##b":2,"##[x]":3,"##\u2581c":4}}})");
}

TEST(ToVocabSpec, WordPieceRefusesWhatBertCannotSay) {
  Json good = word_piece_document();
  good["model"]["vocab"].erase("##[x]");
  good["model"]["vocab"].erase("##\u2581c");
  EXPECT_EQ(tokenizer_from_json(good.dump())->to_vocab_spec().tokens,
            (std::vector<std::string>{"[UNK]", "\u2581a", "b"}));
  std::vector<Json> documents;
  const auto changed = [&](auto change) {
    Json document = good;
    change(document);
    documents.push_back(document);
  };
  changed([](Json& d) { d["model"]["vocab"]["##[x]"] = 3; });
  changed([](Json& d) { d["model"]["vocab"]["##\u2581c"] = 3; });
  changed([](Json& d) { d["model"]["continuing_subword_prefix"] = "@"; });
  changed([](Json& d) { d["model"]["max_input_chars_per_word"] = 20; });
  changed([](Json& d) { d["normalizer"]["lowercase"] = false; });
  changed([](Json& d) { d["normalizer"]["strip_accents"] = false; });
  changed([](Json& d) { d["normalizer"] = {{"type", "Lowercase"}}; });
  changed([](Json& d) { d["normalizer"] = nullptr; });
  changed([](Json& d) { d["pre_tokenizer"] = {{"type", "Whitespace"}}; });
  changed([](Json& d) { d["model"]["type"] = "WordLevel"; });
  for (const Json& document : documents) {
    const auto tokenizer = tokenizer_from_json(document.dump());
    try {
      tokenizer->to_vocab_spec();
      ADD_FAILURE() << document;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUnsupported) << e.what();
    }
  }
}

TEST(BertVocabulary, NormalizerKeysDecideAboutCase) {
  VocabSpec spec;
  spec.model = "bert";
  spec.tokens = {"[UNK]", "\u2581a", "\u2581A", "\u2581\u00E9", "\u2581e"};
  spec.types = {3, 1, 1, 1, 1};
  spec.unknown = 0;
  spec.add_bos = spec.add_eos = false;
  const auto ids = [&] { return tokenizer_from_vocab(spec)->encode("A \u00E9"); };
  EXPECT_EQ(ids(), (std::vector<TokenId>{2, 3}));  // a piece has a capital
  spec.lowercase = true;
  EXPECT_EQ(ids(), (std::vector<TokenId>{1, 4}));
  spec.strip_accents = false;
  EXPECT_EQ(ids(), (std::vector<TokenId>{1, 3}));
  EXPECT_EQ(tokenizer_from_json(tokenizer_from_vocab(spec)->to_tokenizer_json())->encode("A \u00E9"),
            (std::vector<TokenId>{1, 3}));
}

}  // namespace
}  // namespace hone::text
