// Whole models on the CPU backend against logits of the reference implementation (transformers, float32): one forward,
// chunked prefill with the KV cache, greedy continuation, the same model as GGUF and back, and trained weights telling
// a story. Goldens that are not committed lie beside the checkout; without them their tests are skipped.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/cpu/cpu_device.h"
#include "base/error.h"
#include "base/json.h"
#include "exec/plan.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "models/export.h"
#include "models/model.h"

namespace hone {
namespace {

using tensor::FormatId;

std::filesystem::path model_path(const std::string& name) {
  const std::filesystem::path own = std::filesystem::path(HONE_SOURCE_DIR) / "tests/data/models" / name;
  return std::filesystem::exists(own) ? own : std::filesystem::path(HONE_SOURCE_DIR) / "../shared/golden" / name;
}

struct Golden {
  Json json;
  tensor::Checkpoint data;
  double tolerance;

  explicit Golden(const std::string& name) {
    json = parse_json(read_text_file(model_path(name) / "golden.json"), name);
    formats::read_safetensors(model_path(name) / "golden.safetensors", data);
    tolerance = json["tolerance"]["logits_max_abs"].get<double>();
  }
  std::vector<float> floats(const char* field) const { return tensor::decode(data.find(field)->view); }
  std::vector<int64_t> ids(const char* field) const {
    const auto bytes = data.find(field)->view.bytes;
    std::vector<int32_t> raw(bytes.size() / 4);
    std::memcpy(raw.data(), bytes.data(), bytes.size());
    return {raw.begin(), raw.end()};
  }
};

double max_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double d = std::abs(double{a[i]} - double{b[i]});
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
  }
  return worst;
}

// Drives a plan token run by token run, as a session does.
class Runner {
 public:
  Runner(const models::Model& model, const models::Family::GraphOptions& options, FormatId cache = FormatId::kF32,
         const std::vector<std::string>& extra_outputs = {})
      : device_(backends::make_cpu_device(2)) {
    ir::Graph graph = model.graph(options);
    ir::verify(graph);
    for (const std::string& name : extra_outputs) graph.add_output(graph.find_value(name));
    exec::PlanLimits limits;
    limits.sequence = 64;
    limits.context = 256;
    limits.rows = 64;
    limits.state_format = cache;
    plan_ = exec::Plan::compile(std::move(graph), *device_, limits);
    states_ = plan_->make_states();
    cached_ = options.with_cache;
    rows_ = options.select_rows;
  }

  // Logits of every position (or of the last one when rows are selected), [positions, vocab].
  std::vector<float> feed(const std::vector<int64_t>& ids) {
    const auto n = static_cast<int64_t>(ids.size());
    std::vector<int64_t> positions(ids.size()), last = {n - 1};
    for (size_t i = 0; i < ids.size(); ++i) positions[i] = position_ + static_cast<int64_t>(i);
    std::vector<exec::Input> inputs = {{"input_ids", view(ids, {1, n})}, {"position_ids", view(positions, {1, n})}};
    if (rows_) inputs.push_back({"logit_rows", view(last, {1})});
    plan_->run(inputs, cached_ ? &states_ : nullptr);
    position_ += n;
    return output("logits");
  }
  std::vector<float> output(std::string_view name) {
    const exec::Buffer buffer = plan_->output(name);
    return {buffer.f32(), buffer.f32() + buffer.elements()};
  }

 private:
  static tensor::TensorView view(const std::vector<int64_t>& values, tensor::Shape shape) {
    return {FormatId::kI64, std::move(shape), std::as_bytes(std::span<const int64_t>(values))};
  }
  std::unique_ptr<exec::Device> device_;
  std::unique_ptr<exec::Plan> plan_;
  exec::StateSet states_;
  int64_t position_ = 0;
  bool cached_ = false, rows_ = false;
};

int64_t argmax(const std::vector<float>& logits) {
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

// Greedy continuation after the prompt was fed in runs of `chunk`; every step's logits are compared.
void expect_greedy(const models::Model& model, const Golden& golden, FormatId cache, size_t chunk, double tolerance) {
  Runner runner(model, {.max_context = 256, .select_rows = true, .with_cache = true, .early_rows = true}, cache);
  const std::vector<int64_t> prompt = golden.ids("input_ids"), expected = golden.ids("greedy");
  const std::vector<float> reference = golden.floats("greedy_logits");
  std::vector<float> logits;
  for (size_t at = 0; at < prompt.size(); at += chunk)
    logits = runner.feed({prompt.begin() + static_cast<std::ptrdiff_t>(at),
                          prompt.begin() + static_cast<std::ptrdiff_t>(std::min(at + chunk, prompt.size()))});
  for (size_t step = 0; step < expected.size(); ++step) {
    const auto row = reference.begin() + static_cast<std::ptrdiff_t>(step * logits.size());
    ASSERT_LE(max_difference(logits, {row, row + static_cast<std::ptrdiff_t>(logits.size())}), tolerance) << "step " << step;
    ASSERT_EQ(argmax(logits), expected[step]) << "step " << step;
    if (step + 1 < expected.size()) logits = runner.feed({expected[step]});
  }
}

class GoldenModel : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(model_path(GetParam()) / "golden.json")) GTEST_SKIP() << "no golden '" << GetParam() << "'";
    golden_ = std::make_unique<Golden>(GetParam());
    model = models::open_model(model_path(GetParam()));
  }
  std::unique_ptr<Golden> golden_;
  models::Model model;
};

TEST_P(GoldenModel, ForwardGivesTheReferenceLogits) {
  std::vector<std::string> taps = {"embedding", "output_norm"};
  std::vector<std::pair<std::string, std::string>> hidden = {{"hidden_0", "embedding"}, {"hidden_last", "output_norm"}};
  for (int64_t layer = 0; layer + 1 < model.config.layers; ++layer) {
    hidden.emplace_back(fmt::format("hidden_{}", layer + 1), fmt::format("blk.{}.ffn_residual", layer));
    taps.push_back(hidden.back().second);
  }
  Runner runner(model, {.with_cache = false}, FormatId::kF32, taps);
  const std::vector<float> logits = runner.feed(golden_->ids("input_ids"));
  for (const auto& [field, value] : hidden)
    if (golden_->data.find(field)) {
      EXPECT_LE(max_difference(runner.output(value), golden_->floats(field.c_str())), golden_->tolerance) << field;
    }
  const double worst = max_difference(logits, golden_->floats("logits"));
  RecordProperty("max_difference", fmt::format("{:.2e}", worst));
  EXPECT_LE(worst, golden_->tolerance);
}

TEST_P(GoldenModel, GreedyContinuationWithCacheIsEqual) {
  for (const size_t chunk : {64, 7, 1}) {
    SCOPED_TRACE(chunk);
    expect_greedy(model, *golden_, FormatId::kF32, chunk, golden_->tolerance);
  }
}

TEST_P(GoldenModel, HalfPrecisionCacheChoosesTheSameTokens) {
  const double margin = golden_->json["greedy"]["min_margin"].get<double>();
  expect_greedy(model, *golden_, FormatId::kF16, 16, margin / 2);
}

TEST_P(GoldenModel, AsGgufItComputesTheSame) {
  const auto path = std::filesystem::temp_directory_path() / fmt::format("hone_golden_{}_{}.gguf", GetParam(), getpid());
  const models::GgufExport gguf = models::export_gguf(model);
  formats::write_gguf(path, gguf.metadata, gguf.tensors);
  const models::Model converted = models::open_model(path);
  EXPECT_EQ(converted.config.rope_interleaved, model.family->id() == "llama");
  Runner runner(converted, {.with_cache = false});
  const double worst = max_difference(runner.feed(golden_->ids("input_ids")), golden_->floats("logits"));
  RecordProperty("max_difference", fmt::format("{:.2e}", worst));
  EXPECT_LE(worst, golden_->tolerance);
  expect_greedy(converted, *golden_, FormatId::kF32, 16, golden_->tolerance);

  // Back as a directory: what config.json says of it still means the same computation.
  const auto folder = path.string() + "_hf";
  const models::HfExport hf = models::export_hf(converted);
  formats::write_hf_directory(folder, hf.texts, hf.tensors);
  const models::Model back = models::open_model(folder);
  EXPECT_EQ(back.family, model.family);
  expect_greedy(back, *golden_, FormatId::kF32, 16, golden_->tolerance);
  std::filesystem::remove(path);
  std::filesystem::remove_all(folder);
}

// Longrope: a context inside the original one takes the short factors.
class LongRope : public GoldenModel {};

TEST_P(LongRope, ShortContextTakesTheShortFactors) {
  const std::vector<int64_t> ids = golden_->ids("short_input_ids");
  const std::vector<float> expected = golden_->floats("short_logits");
  Runner within(model, {.max_context = model.config.rope_original_context, .with_cache = false});
  EXPECT_LE(max_difference(within.feed(ids), expected), golden_->tolerance);
  Runner beyond(model, {.max_context = model.config.rope_original_context + 1, .with_cache = false});
  EXPECT_GT(max_difference(beyond.feed(ids), expected), 0.1);
}

std::string test_name(const testing::TestParamInfo<const char*>& param) {
  std::string name = param.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Llama, GoldenModel, testing::Values("llama", "llama3-rope", "mistral-swa", "stories260K"), test_name);
INSTANTIATE_TEST_SUITE_P(Qwen, GoldenModel, testing::Values("qwen2", "qwen3"), test_name);
INSTANTIATE_TEST_SUITE_P(Gemma, GoldenModel, testing::Values("gemma2", "gemma3-text"), test_name);
INSTANTIATE_TEST_SUITE_P(Phi, GoldenModel, testing::Values("phi3", "phi4-mini"), test_name);
INSTANTIATE_TEST_SUITE_P(Phi, LongRope, testing::Values("phi3", "phi4-mini"), test_name);

TEST(Stories, TellsItsStoryFromTheStartToken) {
  const Golden golden("stories260K");
  const models::Model model = models::open_model(model_path("stories260K"));
  const auto tokenizer = models::load_tokenizer(*model.checkpoint);
  std::vector<int64_t> prompt;
  for (const text::TokenId id : tokenizer->encode(golden.json["prompt"].get<std::string>())) prompt.push_back(id);
  EXPECT_EQ(prompt, golden.ids("input_ids"));

  Runner runner(model, {.select_rows = true, .with_cache = true});
  std::vector<text::TokenId> story;
  int64_t token = *tokenizer->bos;
  const std::vector<int64_t> expected = golden.ids("greedy_from_bos");
  for (size_t step = 0; step < expected.size(); ++step) {
    token = argmax(runner.feed({token}));
    ASSERT_EQ(token, expected[step]) << "step " << step;
    story.push_back(static_cast<text::TokenId>(token));
  }
  EXPECT_EQ(tokenizer->decode(story), golden.json["greedy_from_bos_text"].get<std::string>());
}

}  // namespace
}  // namespace hone
