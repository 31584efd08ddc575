// hone inspect: what a model is made of, and the memory it needs, without running it. Works on any readable
// checkpoint; what only a known family tells is left out for others.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <optional>

#include "app/console.h"
#include "app/model_argument.h"
#include "app/units.h"
#include "app/validators.h"
#include "app/verbs.h"
#include "base/error.h"
#include "models/export.h"
#include "models/model.h"
#include "optimize/mix.h"

namespace hone::app {
namespace {

using tensor::FormatId;

// Precision tiers by whole bits of the stored numbers, scales not counted: Q4_K is a 4-bit format of 4.5 bits
// a weight.
const char* tier_of(const tensor::QuantFormat& format) {
  if (!format.quantized()) return format.bits_per_weight() <= 8 ? "medium" : "full";
  const double bits = format.bits_per_weight();
  return bits < 3 ? "ultra-low" : bits < 5.2 ? "low" : "medium";
}
constexpr std::pair<const char*, const char*> kTiers[] = {{"full", "16 bit and more"},
                                                          {"medium", "5 to 8 bit"},
                                                          {"low", "3 to 4 bit"},
                                                          {"ultra-low", "1 to 2 bit"}};

struct Use {
  int tensors = 0;
  uint64_t elements = 0, bytes = 0;
};

// A level that the same weights could be stored at: what the file is now, and llama.cpp's mix for each tier.
struct Level {
  std::string name;
  uint64_t weight_bytes = 0;
};

std::string value_text(const tensor::MetaValue& value) {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::string>)
          return v;
        else if constexpr (std::is_same_v<T, std::shared_ptr<const tensor::MetaArray>>)
          return fmt::format("[{} values]", v->size());
        else
          return fmt::format("{}", v);
      },
      value);
}

Json value_json(const tensor::MetaValue& value) {
  return std::visit(
      [](const auto& v) -> Json {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::shared_ptr<const tensor::MetaArray>>)
          return std::visit([](const auto& values) { return Json(values); }, v->values);
        else
          return v;
      },
      value);
}

class InspectVerb : public Verb {
 public:
  void define(CLI::App& command) override {
    command.add_option("model", model_, "The model to look at")->required()->type_name("MODEL");
    command.add_option("--context", context_, "Tokens to compute memory for; else the model's own context")
        ->check(positive())
        ->type_name("N");
    command.add_flag("--tensors", list_tensors_, "List every tensor");
    command.add_flag("--metadata", list_metadata_, "List every metadata key (GGUF) or the configuration");
  }

  int run(Console& console) override {
    const auto path = resolve_model(model_, console.progress());
    checkpoint_ = models::open_checkpoint(path);
    try {
      opened_ = models::open_model(path);
    } catch (const Error& error) {
      problem_ = error.what();  // an unknown family or missing tensors: still worth a look
    }
    count();
    if (opened_) find_levels();
    if (console.json())
      console.print_json(to_json());
    else
      console.print(to_text());
    return 0;
  }

 private:
  void count() {
    for (const auto& t : checkpoint_.tensors()) {
      const Use add{1, tensor::element_count(t.view.shape), tensor::view_bytes(t.view)};
      for (Use* use :
           {&total_, &by_format_[t.view.format], &by_tier_[tier_of(tensor::format(t.view.format))]})
        use->tensors += add.tensors, use->elements += add.elements, use->bytes += add.bytes;
    }
  }

  void find_levels() {
    levels_.push_back({"as stored", total_.bytes});
    const models::GgufExport out = models::export_gguf(*opened_);
    std::vector<optimize::MixTensor> tensors;
    for (const auto& t : out.tensors) tensors.push_back({t.name, t.shape, tensor::format(t.format).name});
    const auto& c = opened_->config;
    const optimize::MixModel shape{c.architecture, c.layers, c.heads, c.kv_heads,
                                   out.metadata.get_int_or(c.architecture + ".expert_count", 0)};
    for (const auto& [tier, mix] : {std::pair<const char*, const char*>{"full", "F16"},
                                    {"medium", "Q8_0"},
                                    {"low", "Q4_K_M"},
                                    {"ultra-low", "Q2_K"}}) {
      const auto formats = optimize::mix_formats(*optimize::find_mix(mix), shape, tensors);
      Level level{fmt::format("{} ({})", tier, mix), 0};
      for (size_t i = 0; i < formats.size(); ++i)
        level.weight_bytes += tensor::format_bytes(formats[i], tensor::element_count(out.tensors[i].shape));
      levels_.push_back(level);
    }
  }

  int64_t context() const { return context_ > 0 ? context_ : opened_->config.context_length; }

  // Keys and values of every layer for the whole context. Sliding windows bound what is read, not what is
  // kept.
  uint64_t cache_bytes(FormatId format) const {
    const auto& c = opened_->config;
    const auto rows = static_cast<uint64_t>(2 * c.layers * c.kv_heads) * static_cast<uint64_t>(context());
    return rows * tensor::format_bytes(format, static_cast<uint64_t>(c.head_dim));
  }
  static std::vector<FormatId> cache_formats(int64_t head_dim) {
    std::vector<FormatId> formats = {FormatId::kF16};
    if (tensor::divides(FormatId::kQ8_0, static_cast<uint64_t>(head_dim))) formats.push_back(FormatId::kQ8_0);
    return formats;
  }

  static std::string window_layers(const models::ModelConfig& c) {
    const auto sliding = std::count(c.sliding_layers.begin(), c.sliding_layers.end(), true);
    return c.sliding_layers.empty() ? "" : fmt::format(", in {} of {} layers", sliding, c.layers);
  }

  std::string architecture() const {
    if (opened_) return opened_->config.architecture;
    if (checkpoint_.kind == tensor::CheckpointKind::kGguf)
      return checkpoint_.metadata.get_string_or("general.architecture", "unknown");
    const auto config = checkpoint_.texts.find("config.json");
    return config == checkpoint_.texts.end() ? "unknown"
                                             : json_string_or(parse_json(config->second, "config.json"),
                                                              "model_type", "unknown", "config.json");
  }

  // "gptq (v2), 4 bits in groups of 128, symmetric, act-order; 210 matrices".
  static std::string layout_text(const tensor::QuantizedLayout& l) {
    std::string text = printable(l.method);
    if (!l.variant.empty() && l.variant != l.method) text += fmt::format(" ({})", printable(l.variant));
    if (l.bits > 0) text += fmt::format(", {} bits", l.bits);
    if (l.group_size > 0) text += fmt::format(" in groups of {}", l.group_size);
    if (l.group_size < 0) text += " with one scale a row";
    if (l.symmetric) text += ", symmetric";
    if (l.act_order) text += ", act-order";
    return text + fmt::format("; {} matrices", l.modules);
  }

  std::string to_text() const {
    const double bpw =
        total_.elements ? 8.0 * static_cast<double>(total_.bytes) / static_cast<double>(total_.elements) : 0;
    std::vector<std::vector<std::string>> rows = {
        {"model", printable(checkpoint_.source_name())},
        {"container", checkpoint_.kind == tensor::CheckpointKind::kGguf ? "GGUF" : "Hugging Face directory"},
        {"files", fmt::format("{}, tensors {}", checkpoint_.files.size(), human_bytes(total_.bytes))},
        {"architecture", printable(architecture())},
        {"parameters", fmt::format("{} ({})", human_count(total_.elements), total_.elements)},
        {"bits per weight", fmt::format("{:.3f}", bpw)}};
    if (checkpoint_.layout) rows.push_back({"layout", layout_text(*checkpoint_.layout)});
    if (opened_) {
      const auto& c = opened_->config;
      rows.push_back({"context", fmt::format("{} tokens", c.context_length)});
      rows.push_back(
          {"layers", fmt::format("{} of {} wide, feed-forward {}", c.layers, c.hidden_size, c.ffn_size)});
      rows.push_back(
          {"heads", fmt::format("{} of {}, {} for keys and values", c.heads, c.head_dim, c.kv_heads)});
      rows.push_back({"vocabulary",
                      fmt::format("{}{}", c.vocab_size, c.tied_head ? ", head tied to the embedding" : "")});
      if (c.sliding_window > 0)
        rows.push_back({"sliding window", fmt::format("{} tokens{}", c.sliding_window, window_layers(c))});
    } else {
      rows.push_back({"cannot run", printable(problem_)});
    }
    std::string text = table(rows) + "\n" + format_table() + "\n" + tier_table();
    if (opened_) text += "\n" + memory_table();
    if (list_metadata_) text += "\n" + metadata_text();
    if (list_tensors_) text += "\n" + tensor_table();
    return text;
  }

  static std::vector<std::string> use_cells(const Use& use, const Use& total) {
    return {std::to_string(use.tensors), human_count(use.elements), human_bytes(use.bytes),
            fmt::format(
                "{:.1f} %",
                total.bytes ? 100.0 * static_cast<double>(use.bytes) / static_cast<double>(total.bytes) : 0)};
  }
  std::string format_table() const {
    std::vector<std::vector<std::string>> rows = {
        {"format", "tier", "bits", "tensors", "weights", "bytes", "share"}};
    for (const auto& [id, use] : by_format_) {
      const auto& f = tensor::format(id);
      std::vector<std::string> row = {f.name, tier_of(f), fmt::format("{:.3f}", f.bits_per_weight())};
      for (auto& cell : use_cells(use, total_)) row.push_back(std::move(cell));
      rows.push_back(std::move(row));
    }
    return table(rows, {false, false, true, true, true, true, true});
  }
  std::string tier_table() const {
    std::vector<std::vector<std::string>> rows = {
        {"precision tier", "", "tensors", "weights", "bytes", "share"}};
    for (const auto& [tier, bits] : kTiers) {
      const auto found = by_tier_.find(tier);
      std::vector<std::string> row = {tier, bits};
      for (auto& cell : use_cells(found == by_tier_.end() ? Use{} : found->second, total_))
        row.push_back(std::move(cell));
      rows.push_back(std::move(row));
    }
    return table(rows, {false, false, true, true, true, true});
  }
  std::string memory_table() const {
    std::vector<std::vector<std::string>> rows = {{fmt::format("memory at {} tokens", context()), "weights"}};
    const auto formats = cache_formats(opened_->config.head_dim);
    for (const FormatId f : formats)
      rows[0].push_back(fmt::format("+ {} cache ({})", tensor::format(f).name, human_bytes(cache_bytes(f))));
    for (const Level& level : levels_) {
      rows.push_back({level.name, human_bytes(level.weight_bytes)});
      for (const FormatId f : formats)
        rows.back().push_back(human_bytes(level.weight_bytes + cache_bytes(f)));
    }
    return table(rows, {false, true, true, true});
  }
  std::string metadata_text() const {
    std::vector<std::vector<std::string>> rows;
    for (const auto& [key, value] : checkpoint_.metadata.entries()) {
      std::string text = printable(value_text(value));
      if (text.size() > 100) text = text.substr(0, 97) + "...";
      rows.push_back({printable(key), text});
    }
    std::string text = table(rows);
    if (const auto config = checkpoint_.texts.find("config.json"); config != checkpoint_.texts.end())
      text += dump_json(parse_json(config->second, "config.json"), 2) + "\n";
    return text;
  }
  std::string tensor_table() const {
    std::vector<std::vector<std::string>> rows = {{"tensor", "shape", "format", "tier", "bytes"}};
    for (const auto& t : checkpoint_.tensors()) {
      const auto& f = tensor::format(t.view.format);
      rows.push_back({printable(t.name), tensor::shape_text(t.view.shape), f.name, tier_of(f),
                      std::to_string(tensor::view_bytes(t.view))});
    }
    return table(rows, {false, false, false, false, true});
  }

  static Json use_json(const Use& use) {
    return {{"tensors", use.tensors}, {"parameters", use.elements}, {"bytes", use.bytes}};
  }

  Json to_json() const {
    Json json = {{"model", checkpoint_.source_name()},
                 {"container", checkpoint_.kind == tensor::CheckpointKind::kGguf ? "gguf" : "hf"},
                 {"architecture", architecture()},
                 {"parameters", total_.elements},
                 {"bytes", total_.bytes},
                 {"bits_per_weight", total_.elements ? 8.0 * static_cast<double>(total_.bytes) /
                                                           static_cast<double>(total_.elements)
                                                     : 0.0}};
    for (const auto& [id, use] : by_format_) {
      Json row = use_json(use);
      row["tier"] = tier_of(tensor::format(id));
      row["bits_per_weight"] = tensor::format(id).bits_per_weight();
      json["formats"][tensor::format(id).name] = row;
    }
    for (const auto& [tier, bits] : kTiers) {
      const auto found = by_tier_.find(tier);
      json["tiers"][tier] = use_json(found == by_tier_.end() ? Use{} : found->second);
    }
    if (const auto& l = checkpoint_.layout)
      json["layout"] = {{"method", l->method},       {"variant", l->variant},
                        {"bits", l->bits},           {"group_size", l->group_size},
                        {"symmetric", l->symmetric}, {"act_order", l->act_order},
                        {"modules", l->modules}};
    if (opened_) {
      const auto& c = opened_->config;
      json["config"] = {{"family", c.family},
                        {"context_length", c.context_length},
                        {"layers", c.layers},
                        {"hidden_size", c.hidden_size},
                        {"ffn_size", c.ffn_size},
                        {"heads", c.heads},
                        {"kv_heads", c.kv_heads},
                        {"head_dim", c.head_dim},
                        {"vocab_size", c.vocab_size},
                        {"tied_head", c.tied_head},
                        {"sliding_window", c.sliding_window}};
      Json memory = {{"context", context()}};
      for (const FormatId f : cache_formats(c.head_dim))
        memory["cache_bytes"][tensor::format(f).name] = cache_bytes(f);
      for (const Level& level : levels_) memory["weight_bytes"][level.name] = level.weight_bytes;
      json["memory"] = memory;
    } else {
      json["cannot_run"] = problem_;
    }
    if (list_metadata_) {
      json["metadata"] = Json::object();
      for (const auto& [key, value] : checkpoint_.metadata.entries())
        json["metadata"][key] = value_json(value);
      if (const auto config = checkpoint_.texts.find("config.json"); config != checkpoint_.texts.end())
        json["metadata"] = parse_json(config->second, "config.json");
    }
    if (list_tensors_) {
      json["tensors"] = Json::array();
      for (const auto& t : checkpoint_.tensors())
        json["tensors"].push_back({{"name", t.name},
                                   {"shape", t.view.shape},
                                   {"format", tensor::format(t.view.format).name},
                                   {"bytes", tensor::view_bytes(t.view)}});
    }
    return json;
  }

  std::string model_, problem_;
  int64_t context_ = 0;
  bool list_tensors_ = false, list_metadata_ = false;
  tensor::Checkpoint checkpoint_;
  std::optional<models::Model> opened_;
  Use total_;
  std::map<FormatId, Use> by_format_;
  std::map<std::string, Use> by_tier_;
  std::vector<Level> levels_;
};

}  // namespace

std::unique_ptr<Verb> make_inspect() {
  return std::make_unique<InspectVerb>();
}

}  // namespace hone::app
