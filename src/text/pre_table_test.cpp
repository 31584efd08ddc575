// Pre-tokenizers by name against the package tokenizers with the same expressions (tests/data/text/pre.json).
#include "text/pre_table.h"

#include "base/error.h"
#include "text/pipeline.h"
#include "text/test_support.h"

namespace hone::text {
namespace {

using namespace testing;

Json fixture() {
  return read_json(source_dir() / "tests/data/text/pre.json");
}

TEST(PreTable, PiecesEqualThePackageTokenizers) {
  const Json all = fixture();
  ASSERT_EQ(all["pieces"].size(), 4u);
  ASSERT_GE(all["lines"].size(), 80u);
  for (const auto& [name, expected] : all["pieces"].items()) {
    const auto splits = make_byte_level_splits(find_pre_tokenizer(name).regexes);
    for (size_t i = 0; i < expected.size(); ++i) {
      Pieces pieces;
      pieces.buffer = all["lines"][i].get<std::string>();
      pieces.spans = {{0, pieces.buffer.size()}};
      start_regex_budget(pieces.buffer.size());
      splits->apply(pieces);
      Json found = Json::array();
      for (const Span& s : pieces.spans)
        if (s.size()) found.push_back(std::string(pieces.text(s)));
      EXPECT_EQ(found, expected[i]) << name << ": " << all["lines"][i];
    }
  }
}

TEST(PreTable, FlagsOfTheNames) {
  EXPECT_TRUE(find_pre_tokenizer("youtu").ignore_merges);
  EXPECT_TRUE(find_pre_tokenizer("chameleon").add_bos);
  EXPECT_FALSE(find_pre_tokenizer("afmoe").ignore_merges);
  try {
    find_pre_tokenizer("no-such-name");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUnsupported);
  }
}

TEST(PreTable, ChainsOfNewNamesAreRecognised) {
  for (const char* name : {"afmoe", "chameleon", "spark2_5"})
    EXPECT_EQ(name_of_chain(find_pre_tokenizer(name).regexes, false), name);
  EXPECT_EQ(name_of_chain(find_pre_tokenizer("youtu").regexes, true), "youtu");
  EXPECT_EQ(name_of_chain({}, false), std::nullopt);
}

TEST(PreTable, WhitespaceIdsEqualThePackageTokenizers) {
  const Json c = fixture()["whitespace"];
  VocabSpec spec;
  spec.model = "gpt2";
  spec.pre = "whitespace";
  spec.tokens = c["tokens"].get<std::vector<std::string>>();
  spec.merges = c["merges"].get<std::vector<std::string>>();
  spec.types.assign(spec.tokens.size(), 1);
  for (const size_t special : {0, 1, 2, 3}) spec.types[special] = 3;
  spec.bos = 0;
  spec.eos = 2;
  spec.lowercase = true;
  const auto from_vocab = tokenizer_from_vocab(spec);
  const auto from_json = tokenizer_from_json(from_vocab->to_tokenizer_json());
  for (const auto* tokenizer : {&from_vocab, &from_json})
    for (size_t i = 0; i < c["texts"].size(); ++i) {
      const std::string text = c["texts"][i];
      auto ids = c["ids"][i].get<std::vector<TokenId>>();
      EXPECT_EQ((*tokenizer)->encode(text, {.add_special = false}), ids) << text;
      EXPECT_EQ((*tokenizer)->decode(ids), c["decoded"][i].get<std::string>());
      ids.insert(ids.begin(), 0);
      ids.push_back(2);
      EXPECT_EQ((*tokenizer)->encode(text), ids) << text;
    }
  spec.lowercase.reset();
  EXPECT_EQ(tokenizer_from_vocab(spec)->encode("Hello", {.add_special = false}).size(), 3u);  // e, ll, o
}

}  // namespace
}  // namespace hone::text
