// LoRA adapters on the CPU backend against peft's logits: applied at run time and merged, on the Hugging Face
// base and on its GGUF, whose q and k rows lie in another order; through the GGUF adapter form and back.
#include "models/adapter.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/cpu/cpu_device.h"
#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "exec/plan.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "models/export.h"
#include "passes/control_vector.h"
#include "passes/lora.h"

namespace hone {
namespace {

using tensor::FormatId;

std::filesystem::path data(const std::string& name) {
  return std::filesystem::path(HONE_SOURCE_DIR) / "tests/data/models" / name;
}

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "hone_adapter_XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

struct Golden {
  tensor::Checkpoint file;
  double tolerance = 0;
  Golden() {
    formats::read_safetensors(data("llama-lora") / "golden.safetensors", file);
    tolerance = parse_json(read_text_file(data("llama-lora") / "golden.json"),
                           "golden")["tolerance"]["logits_max_abs"]
                    .get<double>();
  }
  std::vector<float> floats(const char* field) const { return tensor::decode(file.find(field)->view); }
  std::vector<int64_t> ids(const char* field) const {
    const auto bytes = file.find(field)->view.bytes;
    std::vector<int32_t> raw(bytes.size() / 4);
    std::memcpy(raw.data(), bytes.data(), bytes.size());
    return {raw.begin(), raw.end()};
  }
};

std::vector<float> forward(ir::Graph graph, const std::vector<int64_t>& ids) {
  ir::verify(graph);
  const auto device = backends::make_cpu_device(2);
  exec::PlanLimits limits;
  limits.sequence = limits.context = 128;
  const auto plan = exec::Plan::compile(std::move(graph), *device, limits);
  std::vector<int64_t> positions(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) positions[i] = static_cast<int64_t>(i);
  const tensor::Shape shape{1, static_cast<int64_t>(ids.size())};
  const auto view = [&](const std::vector<int64_t>& v) {
    return tensor::TensorView{FormatId::kI64, shape, std::as_bytes(std::span<const int64_t>(v))};
  };
  const exec::Input inputs[] = {{"input_ids", view(ids)}, {"position_ids", view(positions)}};
  plan->run(inputs, nullptr);
  const exec::Buffer out = plan->output("logits");
  return {out.f32(), out.f32() + out.elements()};
}

constexpr models::Family::GraphOptions kForward{
    .max_context = 128, .select_rows = false, .with_cache = false};

double max_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double d = std::abs(double{a[i]} - double{b[i]});
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
  }
  return worst;
}

passes::LoraAdapter for_pass(const models::Adapter& adapter, double scale = 1) {
  return {adapter.source, &adapter.updates, scale, nullptr};
}

std::vector<float> run_adapted(const models::Model& model, const models::Adapter& adapter,
                               const std::vector<int64_t>& ids, double scale = 1) {
  const passes::LoraAdapter one = for_pass(adapter, scale);
  return forward(passes::apply_lora(model.graph(kForward), {&one, 1}).graph, ids);
}

// The golden's base, as it is and as a GGUF file.
struct LoraGolden : testing::TestWithParam<bool> {
  Golden golden;
  TemporaryDirectory folder;
  models::Model model = models::open_model(data("llama"));
  const std::vector<int64_t> ids = golden.ids("input_ids");
  LoraGolden() {
    if (!GetParam()) return;
    const models::GgufExport out = models::export_gguf(model);
    formats::write_gguf(folder / "base.gguf", out.metadata, out.tensors);
    model = models::open_model(folder / "base.gguf");
  }
};

TEST_P(LoraGolden, AtRunTimeGivesPeftsLogits) {
  const models::Adapter adapter = models::read_adapter(data("llama-lora"), model);
  EXPECT_EQ(adapter.updates.size(), 9u);
  const passes::LoraAdapter one = for_pass(adapter);
  const passes::LoraResult result = passes::apply_lora(model.graph(kForward), {&one, 1});
  EXPECT_EQ(result.matched, 9);
  EXPECT_LE(max_difference(forward(result.graph, ids), golden.floats("logits")), golden.tolerance);
  EXPECT_LE(max_difference(run_adapted(model, adapter, ids, 0), golden.floats("base_logits")),
            golden.tolerance);
}

TEST_P(LoraGolden, MergedGivesPeftsLogits) {
  const models::Adapter adapter = models::read_adapter(data("llama-lora"), model);
  models::Model merged = model;
  const models::MergeReport report = models::merge_adapter(merged, adapter);
  EXPECT_EQ(report.changed.size(), 9u);
  EXPECT_TRUE(report.from_quantized.empty());
  EXPECT_LE(max_difference(forward(merged.graph(kForward), ids), golden.floats("logits")), golden.tolerance);
  EXPECT_LE(max_difference(forward(model.graph(kForward), ids), golden.floats("base_logits")),
            golden.tolerance);
}

TEST_P(LoraGolden, HalvesAddUp) {
  const models::Adapter adapter = models::read_adapter(data("llama-lora"), model);
  const passes::LoraAdapter halves[] = {for_pass(adapter, 0.25), for_pass(adapter, 0.75)};
  const passes::LoraResult result = passes::apply_lora(model.graph(kForward), halves);
  EXPECT_EQ(result.matched, 18);
  EXPECT_LE(max_difference(forward(result.graph, ids), golden.floats("logits")), golden.tolerance);
  models::Model merged = model;
  const models::ScaledAdapter scaled[] = {{&adapter, 0.25}, {&adapter, 0.75}};
  models::merge_adapters(merged, scaled);
  EXPECT_LE(max_difference(forward(merged.graph(kForward), ids), golden.floats("logits")), golden.tolerance);
}

TEST_P(LoraGolden, GreedyStepsWithTheCache) {
  const models::Adapter adapter = models::read_adapter(data("llama-lora"), model);
  const passes::LoraAdapter one = for_pass(adapter);
  ir::Graph graph = passes::apply_lora(
                        model.graph({.max_context = 128, .select_rows = true, .with_cache = true}), {&one, 1})
                        .graph;
  const auto device = backends::make_cpu_device(2);
  exec::PlanLimits limits;
  limits.sequence = 64;
  limits.context = 128;
  limits.state_format = FormatId::kF32;
  const auto plan = exec::Plan::compile(std::move(graph), *device, limits);
  exec::StateSet states = plan->make_states();
  int64_t position = 0;
  const auto feed = [&](const std::vector<int64_t>& next) {
    const auto n = static_cast<int64_t>(next.size());
    std::vector<int64_t> positions(next.size()), last{n - 1};
    for (int64_t& p : positions) p = position++;
    const auto view = [](const std::vector<int64_t>& v, tensor::Shape s) {
      return tensor::TensorView{FormatId::kI64, std::move(s), std::as_bytes(std::span<const int64_t>(v))};
    };
    const exec::Input inputs[] = {{"input_ids", view(next, {1, n})},
                                  {"position_ids", view(positions, {1, n})},
                                  {"logit_rows", view(last, {1})}};
    plan->run(inputs, &states);
    const exec::Buffer out = plan->output("logits");
    return std::max_element(out.f32(), out.f32() + out.elements()) - out.f32();
  };
  int64_t token = feed(ids);
  for (const int64_t expected : golden.ids("greedy")) {
    ASSERT_EQ(token, expected);
    token = feed({expected});
  }
}

TEST_P(LoraGolden, GgufAdapterFileAndBackToPeft) {
  const models::Adapter adapter = models::read_adapter(data("llama-lora"), model);
  const models::AdapterGguf gguf = models::export_adapter_gguf(model, adapter);
  formats::write_gguf(folder / "adapter.gguf", gguf.metadata, gguf.tensors);
  const models::Adapter again = models::read_adapter(folder / "adapter.gguf", model);
  EXPECT_LE(max_difference(run_adapted(model, again, ids), golden.floats("logits")), golden.tolerance);

  const models::AdapterPeft peft = models::export_adapter_peft(model, again);
  tensor::Checkpoint original;
  formats::read_safetensors(data("llama-lora") / "adapter_model.safetensors", original);
  ASSERT_EQ(peft.tensors.size(), original.tensors().size());
  for (const tensor::OutputTensor& t : peft.tensors) {
    const tensor::NamedTensor* expected = original.find(t.name);
    ASSERT_NE(expected, nullptr) << t.name;
    EXPECT_EQ(t.shape, expected->view.shape);
    std::vector<std::byte> bytes(expected->view.bytes.size());
    t.produce(bytes);
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), expected->view.bytes.begin())) << t.name;
  }
  const Json config = parse_json(peft.config, "config");
  EXPECT_EQ(config["r"], 4);
  EXPECT_EQ(config["lora_alpha"], 6);
  EXPECT_EQ(config["target_modules"], Json({"down_proj", "q_proj", "v_proj"}));
}

TEST_P(LoraGolden, AQuantizedBaseIsMergedInF32) {
  models::GgufExport out = models::export_gguf(model);
  for (tensor::OutputTensor& t : out.tensors) {
    if (t.name != "blk.1.attn_q.weight") continue;
    std::vector<std::byte> plain(tensor::format_bytes(t.format, tensor::element_count(t.shape)));
    t.produce(plain);
    t.format = FormatId::kQ8_0;
    t.produce = [plain, shape = t.shape](std::span<std::byte> dst) {
      const auto values = tensor::decode({FormatId::kF32, shape, plain});
      tensor::format(FormatId::kQ8_0).encode(values.data(), dst.data(), values.size());
    };
  }
  if (out.tensors.front().shape.back() % 32 != 0) GTEST_SKIP() << "rows do not fill blocks of 32";
  formats::write_gguf(folder / "q8.gguf", out.metadata, out.tensors);
  models::Model quantized = models::open_model(folder / "q8.gguf");
  const models::Adapter adapter = models::read_adapter(data("llama-lora"), quantized);
  const std::vector<float> at_run_time = run_adapted(quantized, adapter, ids);
  const models::MergeReport report = models::merge_adapter(quantized, adapter);
  EXPECT_EQ(report.from_quantized,
            (std::map<std::string, FormatId>{{"blk.1.attn_q.weight", FormatId::kQ8_0}}));
  // Products with Q8_0 weights round their inputs, those with F32 weights do not: a little more than
  // rounding.
  EXPECT_LE(max_difference(forward(quantized.graph(kForward), ids), at_run_time), 0.3);
}

INSTANTIATE_TEST_SUITE_P(Containers, LoraGolden, testing::Bool(),
                         [](const auto& item) { return item.param ? "Gguf" : "HuggingFace"; });

struct ControlVectors : testing::Test {
  models::Model model = models::open_model(data("llama"));
  std::vector<int64_t> ids = Golden().ids("input_ids");
};

TEST_F(ControlVectors, AddsToTheStreamBehindTheBlock) {
  const auto width = static_cast<size_t>(model.config.hidden_size);
  Random random(11);
  std::map<int64_t, std::vector<float>> directions{{1, std::vector<float>(width)}};
  for (float& v : directions[1]) v = static_cast<float>(random.normal());
  const auto steered = passes::apply_control_vector(model.graph(kForward), directions);
  EXPECT_EQ(steered.matched, 1);
  // Read at the tap: the block's own output plus the direction.
  const auto tap = [&](ir::Graph graph, const char* name) {
    graph.add_output(graph.find_value(name));
    const auto device = backends::make_cpu_device(1);
    exec::PlanLimits limits;
    limits.sequence = limits.context = 128;
    const auto plan = exec::Plan::compile(std::move(graph), *device, limits);
    std::vector<int64_t> positions(ids.size());
    for (size_t i = 0; i < ids.size(); ++i) positions[i] = static_cast<int64_t>(i);
    const tensor::Shape shape{1, static_cast<int64_t>(ids.size())};
    const exec::Input inputs[] = {
        {"input_ids", {FormatId::kI64, shape, std::as_bytes(std::span<const int64_t>(ids))}},
        {"position_ids", {FormatId::kI64, shape, std::as_bytes(std::span<const int64_t>(positions))}}};
    plan->run(inputs, nullptr);
    const exec::Buffer out = plan->output(name);
    return std::vector<float>(out.f32(), out.f32() + out.elements());
  };
  const auto plain = tap(model.graph(kForward), "blk.1.ffn_residual"),
             moved = tap(steered.graph, "blk.1.ffn_residual");
  for (size_t i = 0; i < plain.size(); ++i) ASSERT_NEAR(moved[i], plain[i] + directions[1][i % width], 1e-5);
  EXPECT_GT(max_difference(forward(steered.graph, ids), forward(model.graph(kForward), ids)), 0.1);
}

TEST_F(ControlVectors, RefusesWhatDoesNotFit) {
  const std::map<int64_t, std::vector<float>> directions{{1, std::vector<float>(3)},
                                                         {9, std::vector<float>(64)}};
  try {
    passes::apply_control_vector(model.graph(kForward), directions);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("its direction 3"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("no block 9"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace hone
