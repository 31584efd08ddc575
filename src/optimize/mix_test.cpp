// Held against llama.cpp's own choices: tests/tools/make_mix_fixture.py asked its quantizer.
#include "optimize/mix.h"

#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace hone::optimize {
namespace {

struct Synthetic {
  MixModel model;
  std::vector<MixTensor> tensors;
};

std::map<std::string, Synthetic> read_models(const Json& fixture) {
  std::map<std::string, Synthetic> models;
  for (const Json& m : fixture["models"]) {
    Synthetic& s = models[m["name"].get<std::string>()];
    s.model = {m["arch"].get<std::string>(), m["layers"].get<int64_t>(), m["heads"].get<int64_t>(),
               m["kv"].get<int64_t>(), m["experts"].get<int64_t>()};
    std::istringstream list(m["tensors"].get<std::string>());
    for (std::string item; list >> item;) {
      MixTensor t{item.substr(0, item.find(':')), {}, ""};
      std::istringstream sizes(item.substr(item.find(':') + 1));
      for (std::string size; std::getline(sizes, size, ',');) t.shape.push_back(std::stoll(size));
      t.format = t.shape.size() == 1 ? "F32" : "F16";
      s.tensors.push_back(std::move(t));
    }
  }
  return models;
}

std::vector<std::string> expand(const std::string& runs) {
  std::vector<std::string> types;
  std::istringstream in(runs);
  for (std::string run; in >> run;) {
    const size_t star = run.find('*');
    types.insert(types.end(), star == std::string::npos ? 1 : std::stoul(run.substr(star + 1)),
                 run.substr(0, star));
  }
  return types;
}

TEST(Mix, GivesEveryTensorWhatLlamaCppGives) {
  const Json fixture =
      parse_json(read_text_file(HONE_SOURCE_DIR "/tests/data/optimize/mixes.json"), "mixes.json");
  const auto models = read_models(fixture);
  int cases = 0, wrong = 0;
  for (const Json& c : fixture["cases"]) {
    const Synthetic& s = models.at(c["model"].get<std::string>());
    const Mix* mix = find_mix(c["mix"].get<std::string>());
    ASSERT_NE(mix, nullptr) << c["mix"];
    const auto got =
        mix_format_names(*mix, s.model, s.tensors, {c["pure"].get<bool>(), c["imatrix"].get<bool>()});
    const auto expected = expand(c["types"].get<std::string>());
    ASSERT_EQ(got.size(), expected.size());
    ++cases;
    for (size_t i = 0; i < got.size(); ++i) {
      if (got[i] == expected[i]) continue;
      if (++wrong < 40)
        ADD_FAILURE() << c["model"] << " " << c["mix"]
                      << (c["imatrix"].get<bool>() ? " with importances" : "")
                      << (c["pure"].get<bool>() ? " pure" : "") << ": " << s.tensors[i].name << " is "
                      << got[i] << ", llama.cpp " << expected[i];
      break;
    }
  }
  EXPECT_GT(cases, 700);
}

TEST(Mix, EveryFormatOfEveryMixExists) {
  const Json fixture =
      parse_json(read_text_file(HONE_SOURCE_DIR "/tests/data/optimize/mixes.json"), "mixes.json");
  for (const auto& [name, s] : read_models(fixture))
    for (const Mix& mix : all_mixes())
      EXPECT_EQ(mix_formats(mix, s.model, s.tensors, {false, true}).size(), s.tensors.size()) << mix.name << name;
}

TEST(Mix, KnowsAliasesAndRefusesUnknownNames) {
  EXPECT_STREQ(find_mix("q4_k")->name, "Q4_K_M");
  EXPECT_STREQ(find_mix("iq4_xs")->name, "IQ4_XS");
  EXPECT_EQ(find_mix("Q9_K"), nullptr);
  EXPECT_EQ(find_mix("Q8_K"), nullptr);  // for activations only
}

TEST(Mix, AsksForImportancesWhereLlamaCppDoes) {
  const std::vector<MixTensor> tensors = {{"token_embd.weight", {32, 512}, "F16"},
                                          {"blk.0.ffn_up.weight", {32, 512}, "F16"}};
  const MixModel model{"llama", 1, 8, 8, 0};
  try {
    mix_formats(*find_mix("Q2_K_S"), model, tensors);
    FAIL() << "Q2_K_S without importances was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    EXPECT_NE(std::string(error.what()).find("blk.0.ffn_up.weight"), std::string::npos);
  }
  EXPECT_EQ(mix_formats(*find_mix("Q2_K_S"), model, tensors, {false, true})[1], tensor::FormatId::kQ2_K);
}

TEST(Mix, FileTypesAndNamesAreUnique) {
  std::map<std::string, int> names;
  std::map<uint32_t, int> types;
  for (const Mix& mix : all_mixes()) {
    EXPECT_EQ(++names[mix.name], 1);
    EXPECT_EQ(++types[mix.file_type], 1) << mix.name;
  }
}

}  // namespace
}  // namespace hone::optimize
