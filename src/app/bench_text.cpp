#include "app/bench_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "app/console.h"
#include "app/units.h"
#include "base/cpu.h"

namespace hone::app {
namespace {

using evaluate::PhaseProfile;
using evaluate::ProfileLine;
using evaluate::Roofs;
using evaluate::SpeedResult;
using Rows = std::vector<std::vector<std::string>>;

constexpr size_t kProfileLines = 16;  // of ops; --json has all

std::vector<std::string> sample_row(std::string name, const evaluate::Sample& s, int digits, const char* unit,
                                    std::string more = "") {
  return {std::move(name), fmt::format("{:.{}f} {}", s.median, digits, unit),
          fmt::format("{:.{}f} to {:.{}f}", s.min, digits, s.max, digits), std::move(more)};
}

std::string peaks_text(const Roofs& roofs) {
  std::string text;
  for (int a = 0; a < kernels::kArithmeticCount; ++a) {
    const kernels::Peak& peak = roofs.peaks[static_cast<size_t>(a)];
    if (peak.instruction)
      text += fmt::format("{}{} {:.0f} G/s ({})", text.empty() ? "" : ", ",
                          kernels::arithmetic_name(static_cast<kernels::Arithmetic>(a)),
                          peak.multiply_adds_per_second / 1e9, peak.instruction);
  }
  return text;
}

std::vector<std::string> profile_row(const ProfileLine& line, const std::string& name,
                                     const PhaseProfile& phase) {
  const auto runs = static_cast<double>(phase.runs);
  const auto bytes = static_cast<double>(line.cost.weight_bytes + line.cost.cache_bytes);
  return {name,
          fmt::format("{:.0f}", static_cast<double>(line.calls) / runs),
          fmt::format("{:.3f}", 1e3 * line.seconds / runs),
          fmt::format("{:.1f} %", 100 * line.seconds / phase.seconds),
          bytes > 0 ? fmt::format("{:.2f}", bytes / runs / 1e6) : "",
          bytes > 0 && line.seconds > 0 ? fmt::format("{:.1f}", bytes / line.seconds / 1e9) : "",
          line.cost.multiply_adds > 0 ? fmt::format("{:.1f}", line.cost.multiply_adds / runs / 1e6) : "",
          line.cost.multiply_adds > 0 && line.seconds > 0
              ? fmt::format("{:.0f}", line.cost.multiply_adds / line.seconds / 1e9)
              : "",
          line.roof_seconds > 0 && line.seconds > 0
              ? fmt::format("{:.0f} %", 100 * line.roof_seconds / line.seconds)
              : ""};
}

std::string profile_text(const char* phase_name, const PhaseProfile& phase, const Roofs& roofs) {
  const std::vector<std::string> head = {"",     "calls",   "ms",  "share",      "MB",
                                         "GB/s", "M madds", "G/s", "of its roof"};
  const std::vector<bool> right = {false, true, true, true, true, true, true, true, true};
  Rows rows = {head};
  rows[0][0] = "by kind";
  for (const ProfileLine& line : phase.kinds) {
    if (line.seconds > 0.0005 * phase.seconds) rows.push_back(profile_row(line, line.name, phase));
  }
  ProfileLine between{"between the ops", "", phase.runs, phase.between_seconds, {}, 0};
  rows.push_back(profile_row(between, between.name, phase));
  ProfileLine all{"all", "", phase.runs, phase.seconds, phase.cost, phase.roof_seconds};
  rows.push_back(profile_row(all, all.name, phase));
  rows.push_back(head);
  rows.back()[0] = "by op, layers together";
  for (size_t i = 0; i < std::min(phase.ops.size(), kProfileLines); ++i)
    rows.push_back(profile_row(phase.ops[i], phase.ops[i].name, phase));
  return fmt::format("\n{}, one run of {} ({:.0f} tokens): {:.2f} ms; its bytes alone take {:.2f} ms\n",
                     phase_name, phase.runs,
                     static_cast<double>(phase.tokens) / static_cast<double>(phase.runs),
                     1e3 * phase.seconds / static_cast<double>(phase.runs),
                     1e3 * roofs.memory_seconds(phase.cost) / static_cast<double>(phase.runs)) +
         table(rows, right);
}

}  // namespace

std::string bench_text(const SpeedResult& r, const evaluate::Sample* fresh_seconds) {
  const evaluate::SpeedOptions& o = r.options;
  const std::string sequences = o.sequences > 1 ? fmt::format(" x {}", o.sequences) : "",
                    depth = o.depth > 0 ? fmt::format(" after {}", o.depth) : "";
  Rows rows = {
      sample_row(fmt::format("prefill {}", o.prefill_tokens), r.prefill_tokens_per_second, 1, "tokens/s",
                 fmt::format("{:.0f} % of the arithmetic", 100 * r.prefill_arithmetic_share)),
      sample_row(fmt::format("decode {}{}{}", o.decode_tokens, sequences, depth), r.decode_tokens_per_second,
                 1, "tokens/s",
                 fmt::format("{:.0f} % of the read bandwidth", 100 * r.decode_bandwidth_share)),
      sample_row("first token", r.first_token_seconds, 3, "s")};
  if (fresh_seconds)
    rows.push_back(sample_row("fresh process", *fresh_seconds, 3, "s", "from its start to a first token"));
  rows.push_back({"load", fmt::format("{:.3f} s", r.load_seconds)});
  rows.push_back({"peak memory", human_bytes(r.peak_memory_bytes),
                  fmt::format("file {}, cache {}, rest {}", human_bytes(r.file_bytes),
                              human_bytes(r.cache_bytes), human_bytes(r.rest_bytes))});
  rows.push_back({"read per step", human_bytes(r.decode_cost.weight_bytes + r.decode_cost.cache_bytes),
                  fmt::format("weights {}, cache {}", human_bytes(r.decode_cost.weight_bytes),
                              human_bytes(r.decode_cost.cache_bytes))});
  rows.push_back({"read bandwidth", fmt::format("{:.1f} GB/s", r.read_bandwidth / 1e9)});
  std::string text = table(rows) + fmt::format("multiply-adds   {}\n", peaks_text(r.roofs));
  for (const evaluate::ProductUse& use : r.products)
    text += fmt::format("{:15} {} matrices, {}; activations {} in prefill, {} in decode\n", use.format,
                        use.count, human_bytes(use.bytes), use.prefill, use.decode);
  text +=
      fmt::format("{}, {} threads, {}; median of {}\n", cpu_model_name(), r.threads, r.isa, o.repetitions);
  if (r.prefill_profile) text += profile_text("prefill", *r.prefill_profile, r.roofs);
  if (r.decode_profile) text += profile_text("decode", *r.decode_profile, r.roofs);
  return text;
}

}  // namespace hone::app
