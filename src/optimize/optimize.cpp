#include "optimize/optimize.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/cancel.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/version.h"
#include "evaluate/importance.h"
#include "optimize/calibration.h"
#include "optimize/feedback_pass.h"
#include "optimize/gguf_output.h"
#include "optimize/measured_cost.h"
#include "optimize/report_html.h"
#include "optimize/report_json.h"
#include "optimize/search.h"

namespace hone::optimize {
namespace {

using Clock = std::chrono::steady_clock;
using tensor::FormatId;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void check_options(const Options& o) {
  if (o.output.empty()) fail(ErrorKind::kUsage, "[optimize] no output file; give -o OUT.gguf");
  if (o.output.extension() != ".gguf")
    fail(ErrorKind::kUsage, "[optimize] {}: the output is a GGUF file; name it OUT.gguf", o.output.string());
  const auto& b = o.budget;
  if (!b.max_bytes && !b.max_bpw && !b.max_kld && !o.recipe)
    fail(ErrorKind::kUsage, "[optimize] no budget; give --max-size, --max-bpw or --max-kld (or --recipe to replay one)");
  if (b.max_bpw && !(*b.max_bpw > 0)) fail(ErrorKind::kUsage, "[optimize] --max-bpw must be above 0");
  if (b.max_kld && !(*b.max_kld > 0)) fail(ErrorKind::kUsage, "[optimize] --max-kld must be above 0");
  const auto directory = o.output.has_parent_path() ? o.output.parent_path() : std::filesystem::path(".");
  if (!std::filesystem::is_directory(directory))
    fail(ErrorKind::kResource, "[optimize] {}: no such directory; create it first", directory.string());
  AtomicFile probe(o.output);  // a read-only directory is found out now, not after the search
}

std::string hash_of_input(const tensor::Checkpoint& checkpoint) {
  if (checkpoint.files.size() == 1) return sha256_hex_file(checkpoint.files[0]);
  std::string all;
  for (const auto& file : checkpoint.files) all += sha256_hex_file(file);
  return sha256_hex(std::as_bytes(std::span(all)));
}

uint64_t bytes_of_input(const tensor::Checkpoint& checkpoint) {
  uint64_t total = 0;
  for (const auto& file : checkpoint.files) total += std::filesystem::file_size(file);
  return total;
}

const char* role_name(models::Role role) {
  switch (role) {
    case models::Role::kEmbedding: return "embedding";
    case models::Role::kHead: return "head";
    case models::Role::kNorm: return "norm";
    case models::Role::kQuery: return "query";
    case models::Role::kKey: return "key";
    case models::Role::kValue: return "value";
    case models::Role::kQueryKeyValue: return "query, key and value";
    case models::Role::kAttentionOutput: return "attention output";
    case models::Role::kGate: return "gate";
    case models::Role::kUp: return "up";
    case models::Role::kDown: return "down";
    case models::Role::kBias: return "bias";
    case models::Role::kRopeFactors: return "rope factors";
    case models::Role::kOther: break;
  }
  return "other";
}

Recipe load_recipe(const std::filesystem::path& path, const std::string& model_sha256) {
  Recipe recipe = recipe_from_yaml(read_text_file(path, size_t{256} << 20), path.filename().string());
  if (!recipe.model_sha256.empty() && recipe.model_sha256 != model_sha256)
    fail(ErrorKind::kBadInput, "[optimize] {}: the recipe was made for a model with SHA-256 {}, this one has {}; use the model it names, or remove model_sha256 from the recipe",
         path.filename().string(), recipe.model_sha256.substr(0, 16), model_sha256.substr(0, 16));
  if (recipe.passes.empty() || recipe.passes.front().name != "quantize")
    fail(ErrorKind::kBadInput, "[optimize] {}: the first pass must be 'quantize', which gives each tensor its format",
         path.filename().string());
  return recipe;
}

// Formats and importances of a recipe put into the slots.
Formats apply_recipe(const Recipe& recipe, TrialModel& trial) {
  Formats formats;
  size_t named = 0;
  const RecipePass& pass = recipe.passes.front();
  for (auto& slot : trial.slots()) {
    const auto it = pass.formats.find(slot.info.gguf_name);
    formats.push_back(it == pass.formats.end() ? slot.view.format : it->second);
    named += it != pass.formats.end();
    if (std::find(slot.formats.begin(), slot.formats.end(), formats.back()) == slot.formats.end())
      fail(ErrorKind::kBadInput, "[optimize] recipe: tensor '{}' cannot become {}", slot.info.gguf_name, tensor::format(formats.back()).name);
    slot.importance.clear();
    if (const auto imp = pass.importances.find(slot.info.gguf_name); imp != pass.importances.end()) {
      if (static_cast<int64_t>(imp->second.size()) != slot.view.row_length())
        fail(ErrorKind::kBadInput, "[optimize] recipe: importances of '{}' have {} values, the tensor has {} columns",
             slot.info.gguf_name, imp->second.size(), slot.view.row_length());
      slot.importance = imp->second;
    }
  }
  if (named != pass.formats.size())
    fail(ErrorKind::kBadInput, "[optimize] recipe: names {} tensors, the model has {} of them", pass.formats.size(), named);
  return formats;
}

Recipe make_recipe(const TrialModel& trial, const Formats& formats, const std::string& sha256, uint64_t seed) {
  Recipe recipe;
  recipe.hone_version = kVersion;
  recipe.model_sha256 = sha256;
  recipe.seed = seed;
  RecipePass pass{"quantize"};
  for (size_t s = 0; s < formats.size(); ++s) {
    const Slot& slot = trial.slots()[s];
    pass.formats[slot.info.gguf_name] = formats[s];
    if (!slot.importance.empty() && formats[s] != slot.view.format) pass.importances[slot.info.gguf_name] = slot.importance;
  }
  recipe.passes.push_back(std::move(pass));
  return recipe;
}

void add_proof(Recipe& recipe, const evaluate::DivergenceResult& d) {
  const auto f = [](double v) { return static_cast<float>(v); };
  recipe.proof = {{"kl_divergence", f(d.kl_mean.value)}, {"kl_divergence_999", f(d.kl_999.value)}, {"same_top1", f(d.same_top1.value)},
                  {"perplexity", f(d.perplexity.value)}, {"reference_perplexity", f(d.reference_perplexity.value)},
                  {"tokens", f(static_cast<double>(d.tokens))}};
  recipe.proof_digest = digest(recipe);
}

// The artifact under a name of its own until everything about it is measured and reported; an error or an interrupt
// removes it.
class PendingFile {
 public:
  explicit PendingFile(const std::filesystem::path& final_path) : final_(final_path), pending_(final_path) {
    pending_.replace_extension(fmt::format("{}.part.gguf", ::getpid()));
  }
  ~PendingFile() {
    std::error_code ignored;
    if (!done_) std::filesystem::remove(pending_, ignored);
  }
  const std::filesystem::path& path() const { return pending_; }
  void finish() {
    std::filesystem::rename(pending_, final_);
    done_ = true;
  }

 private:
  std::filesystem::path final_, pending_;
  bool done_ = false;
};

// One optimization, stage by stage.
class Job {
 public:
  Job(const models::Model& model, exec::Device& device, const Options& options, ProgressSink* progress)
      : model_(model), device_(device), options_(options), progress_(progress),
        trial_owner_(std::make_unique<TrialModel>(model, device, evaluation_window(model.config))), trial_(*trial_owner_) {}

  Result run();

 private:
  Formats search(const Texts& texts);
  RecipePass feedback_pass(const Texts& texts) const;
  void prove(const Texts& texts, const Formats& formats, bool keep_proof);
  void measure_speeds(const std::filesystem::path& artifact);
  uint64_t size_limit(const Search& search) const;
  void describe(const Formats& formats);

  const models::Model& model_;
  exec::Device& device_;
  const Options& options_;
  ProgressSink* progress_;
  std::unique_ptr<TrialModel> trial_owner_;  // released before speed and memory are measured
  TrialModel& trial_;
  std::vector<CostRow> costs_;
  Result result_;
};

// Bytes of the whole file that the budget allows; bits per weight count tensors only, not metadata.
uint64_t Job::size_limit(const Search& search) const {
  uint64_t limit = options_.budget.max_bytes.value_or(UINT64_MAX);
  if (const auto bpw = options_.budget.max_bpw) {
    uint64_t unchanged = 0;  // norms and biases, which GGUF stores as F32
    for (const auto& info : model_.tensor_infos) unchanged += 4 * tensor::element_count(info.shape);
    for (const auto& slot : trial_.slots()) unchanged -= 4 * slot.elements();
    const uint64_t metadata = search.file_bytes({}) - std::min(unchanged, search.file_bytes({}));
    limit = std::min(limit, metadata + static_cast<uint64_t>(*bpw / 8 * static_cast<double>(result_.parameters)));
  }
  return limit;
}

RecipePass Job::feedback_pass(const Texts& texts) const {
  RecipePass pass;
  pass.name = "feedback";
  for (const auto& window : texts.statistics) pass.windows.emplace_back(window.begin(), window.end());
  pass.damping = options_.damping;
  pass.sweeps = options_.sweeps;
  return pass;
}

Formats Job::search(const Texts& texts) {
  auto importances = evaluate::collect_importances(model_, device_, texts.statistics, progress_);
  for (auto& slot : trial_.slots())
    if (const auto it = importances.find(slot.source); it != importances.end()) slot.importance = std::move(it->second);
  const evaluate::ReferenceLogits trial_reference(trial_.scorer(), texts.trial, 0, trial_.resume_points());
  MeasuredCost cost(trial_, trial_reference, progress_);
  std::vector<CostRow> rows = cost.costs();
  Recipe sizing;
  sizing.hone_version = kVersion;
  sizing.model_sha256 = result_.input_sha256;
  sizing.seed = options_.seed;
  if (options_.feedback) sizing.passes.push_back(feedback_pass(texts));
  add_proof(sizing, {});
  const evaluate::ReferenceLogits search_reference(trial_.scorer(), texts.search, 0);
  Search search(trial_, search_reference, std::move(rows), fixed_file_bytes(model_, trial_, sizing), progress_);

  const Budget& b = options_.budget;
  const uint64_t limit = size_limit(search);
  Formats formats;
  if (b.max_kld) {
    formats = search.smallest_for_kl(*b.max_kld, options_.swap_trials);
    if (search.file_bytes(formats) > limit)
      fail(ErrorKind::kGoalNotMet, "[optimize] KL divergence {:.4g} needs {:.1f} MB, more than the size allowed; relax one of the budgets",
           *b.max_kld, static_cast<double>(search.file_bytes(formats)) / 1e6);
  } else {
    formats = search.best_for_size(limit, options_.swap_trials);
  }
  search.sweep(search.file_bytes(formats));
  search.measure(formats, "chosen");
  result_.candidates = search.candidates(formats);
  costs_ = search.costs();
  return formats;
}

// Measures the chosen allocation against the input on the held-out text, in memory: the same bytes that are written next.
void Job::prove(const Texts& texts, const Formats& formats, bool keep_proof) {
  trial_.use_all(formats);
  evaluate::Scorer reference(model_, device_, evaluation_window(model_.config));
  result_.divergence = evaluate::evaluate(trial_.scorer(), &reference, texts.evaluation, trial_.scorer().vocab_size(), device_.pool(), progress_);
  if (!keep_proof) add_proof(result_.recipe, result_.divergence);
}

void Job::measure_speeds(const std::filesystem::path& artifact) {
  if (!options_.measure_speed) return;
  evaluate::SpeedOptions speed;
  speed.repetitions = 3;
  result_.speed_before = evaluate::measure_speed(model_.checkpoint->path, device_, speed, progress_);
  result_.speed_after = evaluate::measure_speed(artifact, device_, speed, progress_);
}

void Job::describe(const Formats& formats) {
  uint64_t input_weight_bytes = 0, output_weight_bytes = 0;
  for (const auto& info : model_.tensor_infos) input_weight_bytes += tensor::view_bytes(model_.source(info).view);
  output_weight_bytes = input_weight_bytes;
  for (size_t s = 0; s < formats.size(); ++s) {
    const Slot& slot = trial_.slots()[s];
    TensorChoice t{slot.info.gguf_name, role_name(slot.info.role), slot.view.shape, slot.view.format, formats[s], slot.bytes_in(formats[s]), 0, 0};
    output_weight_bytes = output_weight_bytes - tensor::view_bytes(slot.view) + t.bytes;
    if (!costs_.empty()) {
      const auto& row = costs_[s];
      const auto i = static_cast<size_t>(std::find(row.formats.begin(), row.formats.end(), formats[s]) - row.formats.begin());
      t.relative_error = row.weighted_error[i];
      t.predicted_kl = row.cost[i];
    }
    result_.tensors.push_back(std::move(t));
  }
  const auto bits = [&](uint64_t bytes) { return 8.0 * static_cast<double>(bytes) / static_cast<double>(result_.parameters); };
  result_.input_bpw = bits(input_weight_bytes);
  result_.output_bpw = bits(output_weight_bytes);
  result_.environment = {{"version", kVersion}, {"processor", cpu_model_name()}, {"isa", isa_name(active_isa())}, {"threads", device_.pool().size()}};
}

Result Job::run() {
  const auto start = Clock::now();
  check_options(options_);
  result_.input_sha256 = hash_of_input(*model_.checkpoint);
  result_.input_bytes = bytes_of_input(*model_.checkpoint);
  result_.parameters = model_.parameters();
  result_.command_line = options_.command_line;
  const auto tokenizer = models::load_tokenizer(*model_.checkpoint);
  std::optional<Recipe> given;
  if (options_.recipe) given = load_recipe(*options_.recipe, result_.input_sha256);

  const Texts texts = prepare_texts(model_, device_, *tokenizer, options_, progress_);
  result_.calibration_source = texts.calibration_source;
  result_.evaluation_source = texts.evaluation_source;
  Formats formats;
  if (given) {
    formats = apply_recipe(*given, trial_);
    result_.recipe = *given;
  } else {
    formats = search(texts);
    result_.recipe = make_recipe(trial_, formats, result_.input_sha256, options_.seed);
    if (options_.feedback) result_.recipe.passes.push_back(feedback_pass(texts));
  }
  for (const RecipePass& pass : result_.recipe.passes)
    if (pass.name == "feedback") run_feedback(pass, model_, device_, trial_, formats, progress_);
  const bool keep_proof = given && !given->proof.empty() && given->proof_digest == digest(*given);
  prove(texts, formats, keep_proof);
  if (const auto& goal = options_.budget.max_kld; goal && result_.divergence.kl_mean.value > *goal + result_.divergence.kl_mean.error)
    fail(ErrorKind::kGoalNotMet, "[optimize] KL divergence on the held-out text is {:.4g} +- {:.2g}, above the {:.4g} asked for, though the search text met it; lower --max-kld a little or give more --calibration text",
         result_.divergence.kl_mean.value, result_.divergence.kl_mean.error, *goal);

  const std::string stem = (options_.output.parent_path() / options_.output.stem()).string();
  result_.output = options_.output;
  result_.report_html = stem + ".report.html";
  result_.report_json = stem + ".report.json";
  result_.recipe_yaml = stem + ".recipe.yaml";
  PendingFile artifact(options_.output);
  write_artifact(artifact.path(), model_, trial_, formats, result_.recipe, progress_);
  result_.output_bytes = std::filesystem::file_size(artifact.path());
  result_.output_sha256 = sha256_hex_file(artifact.path());
  if (const auto limit = options_.budget.max_bytes; limit && !given) HONE_CHECK(result_.output_bytes <= *limit);
  describe(formats);
  const uint64_t search_peak = peak_rss_bytes();  // the speed measurement resets the counter
  trial_owner_.reset();
#if defined(__GLIBC__)
  malloc_trim(0);  // what the search freed must not count as memory of the running model
#endif
  measure_speeds(artifact.path());
  result_.peak_memory_bytes = std::max(search_peak, peak_rss_bytes());
  throw_if_cancelled();
  result_.seconds = seconds_since(start);
  artifact.finish();
  write_text_file(result_.recipe_yaml, to_yaml(result_.recipe));
  write_text_file(result_.report_json, dump_json(report_json(result_), 2) + "\n");
  write_text_file(result_.report_html, report_html(result_));
  return std::move(result_);
}

}  // namespace

Result run(const models::Model& model, exec::Device& device, const Options& options, ProgressSink* progress) {
  return Job(model, device, options, progress).run();
}

}  // namespace hone::optimize
