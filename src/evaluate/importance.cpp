// A run with an observer on every MatMul whose second input is a named constant.
#include "evaluate/importance.h"

#include <algorithm>
#include <memory>

#include "base/cancel.h"
#include "base/error.h"
#include "exec/plan.h"
#include "ir/op_table.h"

namespace hone::evaluate {
namespace {

using text::TokenId;
constexpr int64_t kHeadRows = 128;

std::vector<int64_t> spread_rows(int64_t length, int64_t count) {
  std::vector<int64_t> rows(static_cast<size_t>(std::min(length, count)));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int64_t>(i) * length / static_cast<int64_t>(rows.size());
  return rows;
}

void run_window(exec::Plan& plan, const std::vector<TokenId>& window) {
  const auto length = static_cast<int64_t>(window.size());
  const std::vector<int64_t> ids(window.begin(), window.end());
  std::vector<int64_t> positions(window.size());
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int64_t>(i);
  const std::vector<int64_t> rows = spread_rows(length, kHeadRows);
  const auto view = [](const std::vector<int64_t>& values, tensor::Shape shape) {
    return tensor::TensorView{tensor::FormatId::kI64, std::move(shape), std::as_bytes(std::span(values))};
  };
  const exec::Input inputs[] = {{"input_ids", view(ids, {1, length})},
                                {"position_ids", view(positions, {1, length})},
                                {"logit_rows", view(rows, {static_cast<int64_t>(rows.size())})}};
  plan.run(inputs, nullptr);
}

}  // namespace

void observe_inputs(const models::Model& model, exec::Device& device, const std::vector<std::vector<TokenId>>& windows,
                    const char* stage_name, ProgressSink* progress,
                    const std::function<void(const std::string& source, ir::ValueId input, const exec::Buffer& x)>& seen) {
  int64_t longest = 0;
  for (const auto& window : windows) {
    longest = std::max(longest, static_cast<int64_t>(window.size()));
    for (const TokenId id : window) {
      if (id < 0 || id >= model.config.vocab_size) {
        fail(ErrorKind::kBadInput, "[evaluate] token id {} is outside the model's vocabulary of {}; the tokenizer does not belong to it", id,
             model.config.vocab_size);
      }
    }
  }
  if (longest == 0) fail(ErrorKind::kBadInput, "[evaluate] there is no text to take importances from; give at least one window");
  exec::PlanLimits limits;
  limits.sequence = limits.context = longest;
  limits.rows = std::min(longest, kHeadRows);
  limits.every_node = true;
  const std::unique_ptr<exec::Plan> plan =
      exec::Plan::compile(model.graph({.max_context = longest, .select_rows = true, .with_cache = false}), device, limits);
  plan->set_observer([&](const ir::Node& node, std::span<const exec::Buffer> inputs, std::span<const exec::Buffer>, double) {
    if (std::string_view(node.op->name) != "MatMul") return;
    const ir::Constant* weight = plan->graph().constant_of(node.inputs[1]);
    if (weight && !weight->source.empty()) seen(weight->source, node.inputs[0], inputs[0]);
  });
  Progress stage(progress, stage_name, windows.size());
  for (const auto& window : windows) {
    throw_if_cancelled();
    if (!window.empty()) run_window(*plan, window);
    stage.advance();
  }
}

std::map<std::string, std::vector<float>> collect_importances(const models::Model& model, exec::Device& device,
                                                              const std::vector<std::vector<TokenId>>& windows, ProgressSink* progress) {
  struct Moments {
    std::vector<double> squares;  // per input feature, sum of x^2
    int64_t rows = 0;
  };
  std::map<std::string, Moments> moments;
  observe_inputs(model, device, windows, "collecting importances", progress,
                 [&](const std::string& source, ir::ValueId, const exec::Buffer& x) {
                   HONE_CHECK(x.format == tensor::FormatId::kF32 && x.rank > 0);
                   Moments& m = moments[source];
                   const auto width = static_cast<size_t>(x.dims[x.rank - 1]);
                   const auto rows = static_cast<size_t>(x.elements()) / width;
                   m.squares.resize(width);
                   for (size_t r = 0; r < rows; ++r) {
                     const float* row = x.f32() + r * width;
                     for (size_t i = 0; i < width; ++i) m.squares[i] += static_cast<double>(row[i]) * static_cast<double>(row[i]);
                   }
                   m.rows += static_cast<int64_t>(rows);
                 });
  std::map<std::string, std::vector<float>> importances;
  for (const auto& [source, m] : moments) {
    std::vector<float>& means = importances[source];
    means.reserve(m.squares.size());
    for (const double s : m.squares) means.push_back(static_cast<float>(s / static_cast<double>(m.rows)));
  }
  return importances;
}

}  // namespace hone::evaluate
