#include "optimize/recipe.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace hone::optimize {
namespace {

Recipe example() {
  Recipe recipe;
  recipe.hone_version = "0.1.0";
  recipe.model_sha256 = std::string(64, 'a');
  recipe.seed = 7;
  RecipePass pass{"quantize"};
  pass.formats["blk.0.attn_q.weight"] = tensor::FormatId::kIQ4_NL;
  pass.formats["token_embd.weight"] = tensor::FormatId::kQ6_K;
  pass.importances["blk.0.attn_q.weight"] = {0.1f, 1e-30f, 3.4e38f, 1.0f / 3};
  recipe.passes.push_back(pass);
  RecipePass feedback{"feedback"};
  feedback.windows = {{1, 2, 3}, {-1, 2147483647}};
  feedback.damping = 0.015625;
  feedback.sweeps = 3;
  recipe.passes.push_back(feedback);
  recipe.proof = {{"kl_divergence", 0.1234567f}, {"same_top1", 1.0f / 3}};
  recipe.proof_digest = digest(recipe);
  return recipe;
}

TEST(Recipe, RoundTripIsExact) {
  const Recipe recipe = example();
  const Recipe back = recipe_from_yaml(to_yaml(recipe), "r");
  EXPECT_EQ(back.passes[0].formats, recipe.passes[0].formats);
  EXPECT_EQ(back.passes[0].importances, recipe.passes[0].importances);  // bit for bit
  ASSERT_EQ(back.passes.size(), 2u);
  EXPECT_EQ(back.passes[1].windows, recipe.passes[1].windows);
  EXPECT_EQ(back.passes[1].damping, recipe.passes[1].damping);
  EXPECT_EQ(back.passes[1].sweeps, recipe.passes[1].sweeps);
  EXPECT_EQ(back.proof, recipe.proof);
  EXPECT_EQ(back.proof_digest, digest(back));
  EXPECT_EQ(to_yaml(back), to_yaml(recipe));
}

TEST(Recipe, AnEditEndsTheProof) {
  Recipe recipe = example();
  recipe.passes[0].formats["token_embd.weight"] = tensor::FormatId::kQ8_0;
  EXPECT_NE(recipe.proof_digest, digest(recipe));
}

TEST(Recipe, RefusesWhatItCannotReplay) {
  EXPECT_THROW(recipe_from_yaml("version: 2", "r"), Error);
  EXPECT_THROW(recipe_from_yaml("[1, 2", "r"), Error);
  EXPECT_THROW(recipe_from_yaml("just text", "r"), Error);
  EXPECT_THROW(recipe_from_yaml("version: 1\npasses:\n- pass: prune\n", "r"), Error);
  const std::string feedback = "version: 1\npasses:\n- pass: feedback\n  damping: 0.01\n  sweeps: 2\n";
  EXPECT_THROW(recipe_from_yaml(feedback, "r"), Error);  // no text
  EXPECT_THROW(recipe_from_yaml(feedback + "  text: [AAA=]\n", "r"), Error);
  EXPECT_NO_THROW(recipe_from_yaml(feedback + "  text: [AQAAAA==]\n", "r"));
  EXPECT_THROW(recipe_from_yaml("version: 1\npasses:\n- pass: feedback\n  damping: -1\n  sweeps: 2\n  text: [AQAAAA==]\n", "r"), Error);
  EXPECT_THROW(recipe_from_yaml("version: 1\npasses:\n- pass: quantize\n  formats: {a: Q9_9}\n", "r"), Error);
  EXPECT_THROW(recipe_from_yaml("version: 1\npasses:\n- pass: quantize\n  formats: {a: Q4_0}\n  importances: {a: '!!'}\n", "r"), Error);
}

TEST(Recipe, ShortFormHasNoImportances) {
  const std::string text = to_short_yaml(example());
  EXPECT_EQ(text.find("importances"), std::string::npos);
  EXPECT_EQ(text.find("text:"), std::string::npos);  // the artifact does not carry somebody's text
  EXPECT_NE(text.find("feedback"), std::string::npos);
  EXPECT_NE(text.find("IQ4_NL"), std::string::npos);
}

}  // namespace
}  // namespace hone::optimize
