// The main job: from a model and a budget to the file that loses least, with its proof.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/progress.h"
#include "evaluate/divergence.h"
#include "evaluate/speed.h"
#include "exec/device.h"
#include "models/model.h"
#include "optimize/recipe.h"

namespace hone::optimize {

struct Budget {
  std::optional<uint64_t> max_bytes;       // of the whole output file
  std::optional<double> max_bpw;           // bits per weight over all tensors
  std::optional<double> max_kld;           // mean KL divergence on the evaluation text
};

struct Options {
  Budget budget;
  std::filesystem::path output;            // OUT.gguf; reports are written beside it
  std::optional<std::filesystem::path> calibration;
  std::optional<std::filesystem::path> evaluation;  // default: held-out part of the calibration text
  std::optional<std::filesystem::path> recipe;      // replay instead of search
  uint64_t seed = 0;
  int64_t calibration_tokens = 4096;
  int64_t trial_tokens = 256;              // text on which each tensor is tried alone
  int64_t search_tokens = 512;             // text on which whole allocations are measured
  int64_t evaluation_tokens = 4096;        // held-out text of the proof
  int swap_trials = 16;                    // measured exchanges at the end
  bool feedback = false;                   // encode the chosen formats with the covariance of the inputs
  double damping = 0.01;                   // of the covariances, a share of their mean diagonal
  int sweeps = 4;                          // of coordinate descent over the codes
  bool measure_speed = true;
  std::string command_line;                // for the report
};

// One measured candidate: a whole allocation.
struct Candidate {
  std::string name;
  uint64_t bytes = 0;
  double bpw = 0, predicted_kl = 0;
  double kl_mean = 0;
  bool chosen = false, on_front = false;
};

struct TensorChoice {
  std::string name, role;
  tensor::Shape shape;
  tensor::FormatId from, to;
  uint64_t bytes = 0;
  double relative_error = 0, predicted_kl = 0;
};

struct Result {
  std::filesystem::path output, report_html, report_json, recipe_yaml;
  std::string input_sha256, output_sha256;
  uint64_t input_bytes = 0, output_bytes = 0, parameters = 0;
  double input_bpw = 0, output_bpw = 0;
  evaluate::DivergenceResult divergence;
  evaluate::SpeedResult speed_before, speed_after;
  uint64_t peak_memory_bytes = 0;
  double seconds = 0;
  std::vector<Candidate> candidates;
  std::vector<TensorChoice> tensors;
  Recipe recipe;
  std::string calibration_source, evaluation_source, command_line;
  Json environment;                        // processor, threads, ISA, hone version
};

// Runs the job on a device. Error(kGoalNotMet) when no allocation meets the budget, saying which would.
Result run(const models::Model& model, exec::Device& device, const Options& options, ProgressSink* progress);

}  // namespace hone::optimize
