// Which patterns the CPU fuses in each family's graph: a builder that changes its form shows here, not as a
// silent loss of speed. Goldens that are not committed lie beside the checkout; without them their tests are
// skipped.
#include <gtest/gtest.h>

#include "backends/cpu/cpu_device.h"
#include "backends/cpu/fuse.h"
#include "exec/plan.h"
#include "models/model.h"

namespace hone {
namespace {

class FamilyFusions : public testing::TestWithParam<const char*> {};

TEST_P(FamilyFusions, EveryProductIsGrouped) {
  const std::filesystem::path root(HONE_SOURCE_DIR);
  std::filesystem::path path = root / "tests/data/models" / GetParam();
  if (!std::filesystem::exists(path)) path = root / "../shared/golden" / GetParam();
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no golden '" << GetParam() << "'";
  const models::Model model = models::open_model(path);
  const auto layers = static_cast<int>(model.config.layers);
  for (const bool cache : {false, true}) {
    const ir::Graph graph = model.graph({.max_context = 64, .select_rows = cache, .with_cache = cache});
    std::vector<std::pair<std::string, int>> expected = {
        {"gate", layers},         // ffn_norm, gate, up, activation
        {"norm", layers + 1},     // attn_norm with q, k, v; the last norm with the head
        {"residual", 2 * layers}  // o and down, with bias or norm behind
    };
    for (const auto& [name, count] : expected) {
      bool found = false;
      for (const auto& [own, got] : backends::count_fusions(graph)) {
        if (own != name) continue;
        found = true;
        EXPECT_EQ(got, count) << name;
      }
      EXPECT_TRUE(found) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, FamilyFusions,
                         testing::Values("llama", "llama3-rope", "mistral-swa", "stories260K", "qwen2",
                                         "qwen3", "gemma2", "gemma3-text", "phi3", "phi4-mini"),
                         [](const auto& model) {
                           std::string name = model.param;
                           for (char& c : name)
                             if (c == '-') c = '_';
                           return name;
                         });

}  // namespace
}  // namespace hone
