#include "optimize/mix.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <set>

#include "base/error.h"

namespace hone::optimize {

namespace {
// What a tensor is to a mix.
enum Part : unsigned {
  kOutput = 1,
  kEmbedding = 2,
  kQ = 4,
  kK = 8,
  kV = 16,
  kO = 32,
  kUp = 64,
  kGate = 128,
  kDown = 256
};
// Which of the n layers a rule is for; i counts the tensors of that part.
enum class Where { kAll, kFirst2, kFirst4, kFirst16th, kFirst8th, kMiddle, kMore };
// What must hold for a rule.
enum Need : unsigned {
  kNone = 0,
  kGqa4 = 1,
  kImportances = 2,
  kNoImportances = 4,
  k8Experts = 8,
  kNot8Experts = 16,
  k4Experts = 32,
  kFalcon = 64,
  kNotFalcon = 128
};
}  // namespace

// The first rule that fits a tensor gives its format.
struct MixRule {
  unsigned parts;
  Where where;
  unsigned needs;
  const char* format;
};

namespace {

using Rules = std::vector<MixRule>;
constexpr Where kAll = Where::kAll;

// With eight experts the attention is a small part of the bytes: it gets the best.
const MixRule kExpertsVK = {kV | kK, kAll, k8Experts, "Q8_0"};
const MixRule kExpertsO = {kO, kAll, k8Experts, "Q5_K"};

// The mixes of one to two bits share their shape.
Rules low_rules(const char* v, const char* first_down, const char* o) {
  Rules rules = {{kV, kAll, kGqa4, "Q4_K"},
                 {kV, kAll, k4Experts, "Q4_K"},
                 {kV, kAll, kNone, v},
                 {kK, kAll, k8Experts, "Q4_K"},
                 {kDown, Where::kFirst8th, kNone, first_down},
                 kExpertsO};
  if (o) rules.push_back({kO, kAll, kNone, o});
  return rules;
}

// clang-format off
std::vector<Mix> make_mixes() {
  const Rules iq1 = low_rules("Q2_K", "Q2_K", "IQ2_XXS");
  const Rules iq2x = low_rules("Q2_K", "Q2_K", nullptr);
  const Rules iq2 = low_rules("IQ3_S", "IQ3_S", "IQ3_S");
  const Rules iq4 = {kExpertsVK, {kV, kAll, kGqa4, "Q5_K"}, kExpertsO, {kDown, Where::kFirst8th, kNoImportances, "Q5_K"}};
  const Rules base = {kExpertsVK};
  return {
      {"F32", 0, "F32", {}},
      {"F16", 1, "F16", {}},
      {"BF16", 32, "BF16", {}},
      {"Q4_0", 2, "Q4_0", {kExpertsVK, {kDown, Where::kFirst8th, kImportances, "Q4_1"}}},
      {"Q4_1", 3, "Q4_1", base},
      {"Q5_0", 8, "Q5_0", {kExpertsVK, {kDown, Where::kFirst8th, kImportances, "Q5_1"}}},
      {"Q5_1", 9, "Q5_1", base},
      {"Q8_0", 7, "Q8_0", base},
      {"Q1_0", 40, "Q1_0", base},
      {"Q2_0", 41, "Q2_0", base},
      {"Q2_K", 10, "Q2_K", {kExpertsVK, {kV, kAll, kGqa4, "Q4_K"}, {kV, kAll, kNone, "Q3_K"}, kExpertsO, {kO, kAll, kNotFalcon, "Q3_K"},
                            {kDown, kAll, kNone, "Q3_K"}}},
      {"Q2_K_S", 21, "Q2_K", {kExpertsVK, {kV, kAll, kGqa4, "Q4_K"}, {kDown, Where::kFirst8th, kNone, "Q4_K"}}},
      {"Q3_K_S", 11, "Q3_K", {kExpertsVK, kExpertsO}},
      {"Q3_K_M", 12, "Q3_K", {kExpertsVK, {kV, Where::kFirst2, kNone, "Q5_K"}, {kV, kAll, kNone, "Q4_K"}, kExpertsO,
                              {kO, kAll, kNotFalcon, "Q4_K"}, {kDown, Where::kFirst16th, kNone, "Q5_K"},
                              {kDown, Where::kMore, kFalcon, "Q4_K"}, {kDown, kAll, kNotFalcon, "Q4_K"}}},
      {"Q3_K_L", 13, "Q3_K", {kExpertsVK, {kV, kAll, kNone, "Q5_K"}, {kO, kAll, kFalcon, "Q4_K"}, {kO, kAll, kNot8Experts, "Q5_K"},
                              {kDown, kAll, kFalcon, "Q4_K"}, {kDown, kAll, kNone, "Q5_K"}}},
      {"Q4_K_S", 14, "Q4_K", {kExpertsVK, {kV, Where::kFirst4, kNone, "Q5_K"}, kExpertsO, {kDown, Where::kFirst8th, kNotFalcon, "Q5_K"}}},
      {"Q4_K_M", 15, "Q4_K", {kExpertsVK, {kV, Where::kMore, kNone, "Q6_K"}, kExpertsO, {kDown, Where::kFirst16th, kFalcon, "Q6_K"},
                              {kDown, Where::kMore, kFalcon, "Q5_K"}, {kDown, Where::kMore, kNotFalcon, "Q6_K"}}},
      {"Q5_K_S", 16, "Q5_K", base},
      {"Q5_K_M", 17, "Q5_K", {kExpertsVK, {kV, Where::kMore, kNone, "Q6_K"}, {kDown, Where::kMore, kNone, "Q6_K"}}},
      {"Q6_K", 18, "Q6_K", base},
      {"IQ1_S", 24, "IQ1_S", iq1},
      {"IQ1_M", 31, "IQ1_M", iq1},
      {"IQ2_XXS", 19, "IQ2_XXS", iq2x},
      {"IQ2_XS", 20, "IQ2_XS", iq2x},
      {"IQ2_S", 28, "IQ2_XS", iq2},
      {"IQ2_M", 29, "IQ2_S", iq2},
      {"IQ3_XXS", 23, "IQ3_XXS", {kExpertsVK, {kV, kAll, kGqa4, "Q4_K"}, {kV, kAll, kNoImportances, "IQ3_S"}, kExpertsO,
                                  {kO, kAll, kNotFalcon, "IQ3_S"}, {kDown, Where::kFirst8th, kNoImportances, "Q4_K"},
                                  {kDown, kAll, kNoImportances, "Q3_K"}, {kQ | kK, kAll, kNone, "IQ2_S"}}},
      {"IQ3_XS", 22, "IQ3_S", {kExpertsVK, {kV, kAll, kGqa4, "Q4_K"}, kExpertsO, {kQ | kK, kAll, kNone, "IQ3_XXS"},
                               {kUp | kGate, Where::kMiddle, kNone, "IQ3_XXS"}}},
      {"IQ3_S", 26, "IQ3_S", {kExpertsVK, {kV, kAll, kGqa4, "Q4_K"}, kExpertsO}},
      {"IQ3_M", 27, "IQ3_S", {kExpertsVK, {kV, kAll, kNone, "Q4_K"}, kExpertsO, {kO, kAll, kNotFalcon, "Q4_K"},
                              {kDown, Where::kFirst8th, kNone, "Q4_K"}, {kDown, Where::kMore, k8Experts, "Q4_K"}}},
      {"IQ4_NL", 25, "IQ4_NL", iq4},
      {"IQ4_XS", 30, "IQ4_XS", iq4},
      {"TQ1_0", 36, "TQ1_0", base},
      {"TQ2_0", 37, "TQ2_0", base},
      {"MXFP4_MOE", 38, "MXFP4", {}},
  };
}
// clang-format on

constexpr std::pair<const char*, const char*> kAliases[] = {
    {"Q3_K", "Q3_K_M"}, {"Q4_K", "Q4_K_M"}, {"Q5_K", "Q5_K_M"}, {"MXFP4", "MXFP4_MOE"}};

uint64_t block_of(std::string_view format) {
  const auto* row = tensor::find_format(format);
  HONE_CHECK(row != nullptr);
  return row->block;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}
bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}
bool starts_with(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

unsigned part_of(std::string_view name) {
  if (name == "output.weight") return kOutput;
  if (name == "token_embd.weight" || name == "per_layer_token_embd.weight") return kEmbedding;
  if (contains(name, "attn_v.weight") || contains(name, "attn_qkv.weight") ||
      contains(name, "attn_kv_b.weight"))
    return kV;
  if (contains(name, "attn_k.weight")) return kK;
  if (contains(name, "attn_q.weight")) return kQ;
  if (contains(name, "attn_output.weight")) return kO;
  if (contains(name, "ffn_up")) return kUp;
  if (contains(name, "ffn_gate")) return kGate;
  if (contains(name, "ffn_down")) return kDown;
  return 0;
}

int64_t layer_of(std::string_view name) {
  int64_t layer = -1;
  if (starts_with(name, "blk.")) std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  return layer;
}

bool reaches(Where where, int64_t i, int64_t n) {
  switch (where) {
    case Where::kAll:
      return true;
    case Where::kFirst2:
      return i < 2;
    case Where::kFirst4:
      return i < 4;
    case Where::kFirst16th:
      return i < n / 16;
    case Where::kFirst8th:
      return i < n / 8;
    case Where::kMiddle:
      return i >= n / 8 && i < 7 * n / 8;
    case Where::kMore:
      return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
  }
  return false;
}

class Chooser {
 public:
  Chooser(const Mix& mix, const MixModel& model, const std::vector<MixTensor>& tensors,
          const MixOptions& options)
      : mix_(mix), model_(model), tensors_(tensors), options_(options) {
    for (const MixTensor& t : tensors) {
      has_output_ = has_output_ || t.name == "output.weight";
      value_tensors_ += part_of(t.name) == kV;
    }
    const std::string_view name = mix.name;
    plain_ = name == "F32" || name == "F16" || name == "BF16";
    low_ = starts_with(name, "IQ1_") || starts_with(name, "IQ2_");
  }

  std::vector<std::string> run() {
    std::vector<size_t> order(tensors_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return std::pair(layer_of(tensors_[a].name), std::string_view(tensors_[a].name)) <
             std::pair(layer_of(tensors_[b].name), std::string_view(tensors_[b].name));
    });
    std::vector<std::string> names(tensors_.size());
    for (const size_t i : order)
      names[i] = is_quantizable(tensors_[i]) ? choose(tensors_[i]) : tensors_[i].format;
    return names;
  }

  void check_importances(const std::vector<std::string>& names) const;

 private:
  std::string choose(const MixTensor& t) {
    const std::string wanted = options_.pure || plain_ ? mix_.base : from_rules(t);
    return fallback(wanted, static_cast<uint64_t>(t.shape.back()));
  }

  std::string from_rules(const MixTensor& t) {
    const std::string_view name = mix_.name;
    const unsigned part = part_of(t.name);
    const int64_t i = position(part, t.name);
    if (part == kOutput || (t.name == "token_embd.weight" && !has_output_)) return head_format(t);
    if (name == "MXFP4_MOE") return t.shape.size() == 3 ? "MXFP4" : "Q8_0";
    if (part == kEmbedding) {
      if (starts_with(name, "IQ1_") || name == "IQ2_XXS" || name == "IQ2_XS") return "Q2_K";
      if (name == "IQ2_S" || name == "IQ2_M" || name == "IQ3_XXS") return "IQ3_S";
      if (name == "TQ1_0" || name == "TQ2_0" || name == "Q2_0") return "Q4_K";
      return mix_.base;
    }
    for (const MixRule& rule : mix_.rules) {
      const int64_t n = part == kV && rule.where == Where::kMore ? value_tensors_ : model_.layers;
      if ((rule.parts & part) == 0 || !holds(rule.needs) || !reaches(rule.where, i, n)) continue;
      return lifted(part, rule.format);
    }
    return lifted(part, mix_.base);
  }

  // In models of 70B class (80 layers, grouped heads) eight heads share a value: it is small and gets more.
  std::string lifted(unsigned part, std::string_view format) const {
    const bool large =
        model_.layers == 80 && model_.heads != model_.kv_heads && model_.architecture == "llama";
    if (part == kV && large && !low_ && (format == "Q3_K" || format == "Q4_K")) return "Q5_K";
    return std::string(format);
  }

  std::string head_format(const MixTensor& t) const {
    const std::string_view name = mix_.name;
    if (model_.architecture == "falcon" || static_cast<uint64_t>(t.shape.back()) % block_of(mix_.base) != 0)
      return "Q8_0";
    if (low_ || name == "IQ3_XXS") return "Q5_K";
    if (name == "Q8_0" || name == "MXFP4_MOE") return "Q8_0";
    return "Q6_K";
  }

  // How many tensors of this part came before; with experts the layer's number.
  int64_t position(unsigned part, std::string_view name) {
    int64_t* counter = part == kV      ? &seen_v_
                       : part == kDown ? &seen_down_
                       : part == kUp   ? &seen_up_
                       : part == kGate ? &seen_gate_
                                       : nullptr;
    if (!counter) return 0;
    const int64_t before = (*counter)++;
    return part != kV && model_.experts > 1 ? layer_of(name) : before;
  }

  bool holds(unsigned needs) const {
    const bool gqa4 = model_.kv_heads > 0 && model_.heads / model_.kv_heads >= 4;
    const bool falcon = model_.architecture == "falcon";
    const std::pair<unsigned, bool> facts[] = {{kGqa4, gqa4},
                                               {kImportances, options_.has_importances},
                                               {kNoImportances, !options_.has_importances},
                                               {k8Experts, model_.experts == 8},
                                               {kNot8Experts, model_.experts != 8},
                                               {k4Experts, model_.experts >= 4},
                                               {kFalcon, falcon},
                                               {kNotFalcon, !falcon}};
    return std::all_of(std::begin(facts), std::end(facts),
                       [&](const auto& f) { return (needs & f.first) == 0 || f.second; });
  }

  static std::string fallback(std::string format, uint64_t row) {
    if (row % block_of(format) == 0) return format;
    if (starts_with(format, "IQ"))
      format = "IQ4_NL";
    else if (format == "Q4_K")
      format = "Q5_0";
    else if (format == "Q5_K")
      format = "Q5_1";
    else if (format == "Q6_K")
      format = "Q8_0";
    else if (format == "Q2_K" || format == "Q3_K" || format == "TQ1_0" || format == "TQ2_0" ||
             format == "Q2_0")
      format = "Q4_0";
    return row % block_of(format) == 0 ? format : "F16";
  }

  const Mix& mix_;
  const MixModel& model_;
  const std::vector<MixTensor>& tensors_;
  const MixOptions& options_;
  bool has_output_ = false, plain_ = false, low_ = false;
  int64_t value_tensors_ = 0, seen_v_ = 0, seen_down_ = 0, seen_up_ = 0, seen_gate_ = 0;
};

void Chooser::check_importances(const std::vector<std::string>& names) const {
  if (options_.has_importances) return;
  static const std::set<std::string_view> kBlind = {"IQ1_S",  "IQ1_M", "IQ2_XXS",
                                                    "IQ2_XS", "IQ2_S", "IQ3_XXS"};
  for (size_t i = 0; i < names.size(); ++i) {
    const unsigned part = part_of(tensors_[i].name);
    if (part == kEmbedding || part == kOutput || names[i] == tensors_[i].format) continue;
    if (kBlind.count(names[i]) || (names[i] == "Q2_K" && std::string_view(mix_.name) == "Q2_K_S"))
      fail(ErrorKind::kUsage, "[mix] {} puts '{}' into {}, which needs importances; give --imatrix",
           mix_.name, tensors_[i].name, names[i]);
  }
}

}  // namespace

const std::vector<Mix>& all_mixes() {
  static const std::vector<Mix> mixes = make_mixes();
  return mixes;
}

const Mix* find_mix(std::string_view name) {
  std::string upper(name);
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  for (const auto& [alias, meant] : kAliases)
    if (upper == alias) upper = meant;
  for (const Mix& mix : all_mixes())
    if (upper == mix.name) return &mix;
  return nullptr;
}

bool is_quantizable(const MixTensor& t) {
  static constexpr const char* kParts[] = {"_norm.weight",
                                           "ffn_gate_inp.weight",
                                           "ffn_gate_tid2eid.weight",
                                           "altup",
                                           "laurel",
                                           "per_layer_model_proj",
                                           "ssm_conv1d",
                                           "shortconv.conv.weight",
                                           "indexer.k_proj.weight",
                                           "indexer.q_proj.weight",
                                           "time_mix_first.weight",
                                           "time_mix_w0.weight",
                                           "time_mix_w1.weight",
                                           "time_mix_w2.weight",
                                           "time_mix_v0.weight",
                                           "time_mix_v1.weight",
                                           "time_mix_v2.weight",
                                           "time_mix_a0.weight",
                                           "time_mix_a1.weight",
                                           "time_mix_a2.weight",
                                           "time_mix_g1.weight",
                                           "time_mix_g2.weight",
                                           "time_mix_decay_w1.weight",
                                           "time_mix_decay_w2.weight",
                                           "time_mix_lerp_fused.weight",
                                           "attn_rel_b.weight",
                                           ".position_embd",
                                           ".rel_pos",
                                           ".patch_embd",
                                           ".patch_merger"};
  if (t.shape.size() < 2 || !ends_with(t.name, "weight")) return false;
  if (t.name == "position_embd.weight" || t.name == "token_types.weight") return false;
  return std::none_of(std::begin(kParts), std::end(kParts),
                      [&](const char* part) { return contains(t.name, part); });
}

std::vector<std::string> mix_format_names(const Mix& mix, const MixModel& model,
                                          const std::vector<MixTensor>& tensors, const MixOptions& options) {
  return Chooser(mix, model, tensors, options).run();
}

std::vector<tensor::FormatId> mix_formats(const Mix& mix, const MixModel& model,
                                          const std::vector<MixTensor>& tensors, const MixOptions& options) {
  Chooser chooser(mix, model, tensors, options);
  const std::vector<std::string> names = chooser.run();
  std::vector<tensor::FormatId> ids;
  for (const std::string& name : names) {
    const auto* format = tensor::find_format(name);
    HONE_CHECK(format != nullptr);
    ids.push_back(format->id);
  }
  chooser.check_importances(names);
  return ids;
}

}  // namespace hone::optimize
