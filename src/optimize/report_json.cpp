#include "optimize/report_json.h"

namespace hone::optimize {

Json report_json(const Result& r) {
  Json candidates = Json::array(), tensors = Json::array();
  for (const auto& c : r.candidates)
    candidates.push_back({{"name", c.name}, {"bytes", c.bytes}, {"bits_per_weight", c.bpw}, {"kl_mean", c.kl_mean},
                          {"predicted_kl", c.predicted_kl}, {"chosen", c.chosen}, {"pareto", c.on_front}});
  for (const auto& t : r.tensors)
    tensors.push_back({{"name", t.name}, {"role", t.role}, {"shape", t.shape}, {"from", tensor::format(t.from).name},
                       {"to", tensor::format(t.to).name}, {"bytes", t.bytes}, {"relative_error", t.relative_error},
                       {"predicted_kl", t.predicted_kl}});
  Json report;
  report["hone"] = r.environment;
  report["command"] = r.command_line;
  report["input"] = {{"sha256", r.input_sha256}, {"bytes", r.input_bytes}, {"bits_per_weight", r.input_bpw}, {"parameters", r.parameters}};
  report["output"] = {{"file", r.output.filename().string()}, {"sha256", r.output_sha256}, {"bytes", r.output_bytes},
                      {"bits_per_weight", r.output_bpw}, {"recipe", r.recipe_yaml.filename().string()}};
  report["texts"] = {{"calibration", r.calibration_source}, {"evaluation", r.evaluation_source}};
  report["quality"] = evaluate::to_json(r.divergence);
  report["speed"] = {{"before", evaluate::to_json(r.speed_before)}, {"after", evaluate::to_json(r.speed_after)}};
  report["peak_memory_bytes"] = r.peak_memory_bytes;
  report["seconds"] = r.seconds;
  report["candidates"] = std::move(candidates);
  report["tensors"] = std::move(tensors);
  return report;
}

}  // namespace hone::optimize
