// hone quantize: every tensor in the format that a named mix gives it.
#include <CLI/CLI.hpp>

#include "app/console.h"
#include "app/flags.h"
#include "app/model_argument.h"
#include "app/requantize.h"
#include "app/units.h"
#include "app/verbs.h"
#include "base/error.h"
#include "base/version.h"
#include "formats/gguf.h"
#include "formats/imatrix.h"
#include "models/model.h"
#include "optimize/mix.h"

namespace hone::app {
namespace {

class QuantizeVerb : public Verb {
 public:
  void define(CLI::App& command) override {
    command.add_option("model", model_, "The model to store smaller")->required()->type_name("MODEL");
    std::string names;
    for (const auto& mix : optimize::all_mixes()) names += (names.empty() ? "" : " ") + std::string(mix.name);
    command.add_option("format", format_, "Format or mix, with llama.cpp's choice of types: " + names)
        ->required()
        ->type_name("FORMAT");
    command.add_option("output", output_, "The file to write")->required()->type_name("OUT.gguf");
    command
        .add_option("--imatrix", imatrix_,
                    "Importance matrix of hone imatrix or llama-imatrix (GGUF or .dat)")
        ->type_name("FILE");
    command.add_flag("--pure", pure_, "The same format for every tensor that it fits");
    command.add_flag("--thorough", thorough_,
                     "Search longer for the scales: several times slower, errors a little smaller");
    device_.add(command);
  }

  int run(Console& console) override {
    const optimize::Mix* mix = optimize::find_mix(format_);
    if (!mix) {
      std::string names;
      for (const auto& known : optimize::all_mixes())
        names += (names.empty() ? "" : ", ") + std::string(known.name);
      fail(ErrorKind::kUsage, "'{}' is no format or mix; known are {}", format_, names);
    }
    const auto path = resolve_model(model_, console.progress());
    check_output(output_, path);
    const models::Model model = models::open_model(path);
    models::GgufExport out = models::export_gguf(model);
    formats::ImportanceMatrix imatrix;
    if (!imatrix_.empty()) imatrix = formats::read_imatrix(imatrix_);
    const auto importances = imatrix.mean_squares();

    std::vector<optimize::MixTensor> tensors;
    for (const auto& t : out.tensors) tensors.push_back({t.name, t.shape, tensor::format(t.format).name});
    const auto experts = out.metadata.get_int_or(model.config.architecture + ".expert_count", 0);
    const optimize::MixModel shape{model.config.architecture, model.config.layers, model.config.heads,
                                   model.config.kv_heads, experts};
    const auto formats = optimize::mix_formats(*mix, shape, tensors, {pure_, !importances.empty()});
    ThreadPool pool(device_.threads);
    const RequantizeReport report = requantize(out, formats, importances, pool,
                                               thorough_ ? quant::Effort::kThorough : quant::Effort::kFast);
    if (report.from_quantized > 0)
      console.note(fmt::format(
          "{} tensors were quantized before: their errors add up; start from full precision where you can",
          report.from_quantized));

    out.metadata.set("general.file_type", mix->file_type);
    out.metadata.set("general.quantization_version", uint32_t{2});
    out.metadata.set("general.quantized_by", std::string("hone ") + kVersion);
    if (!importances.empty()) {
      out.metadata.set("quantize.imatrix.file", std::filesystem::path(imatrix_).filename().string());
      if (!imatrix.datasets.empty()) out.metadata.set("quantize.imatrix.dataset", imatrix.datasets.front());
      out.metadata.set("quantize.imatrix.entries_count", static_cast<uint32_t>(importances.size()));
      out.metadata.set("quantize.imatrix.chunks_count", static_cast<uint32_t>(imatrix.chunks));
    }
    formats::write_gguf(output_, out.metadata, out.tensors, {}, console.progress());
    show(console, *mix, report);
    return 0;
  }

 private:
  void show(Console& console, const optimize::Mix& mix, const RequantizeReport& report) const {
    const uint64_t bytes = std::filesystem::file_size(output_);
    if (console.json()) {
      console.print_json({{"output", output_},
                          {"mix", mix.name},
                          {"pure", pure_},
                          {"bytes", bytes},
                          {"bits_per_weight", report.bits_per_weight},
                          {"tensors_changed", report.changed},
                          {"tensors_requantized", report.from_quantized}});
      return;
    }
    console.print(fmt::format("{}: {}, {:.3f} bits per weight, {} tensors encoded\n", output_,
                              human_bytes(bytes), report.bits_per_weight, report.changed));
  }

  std::string model_, format_, output_, imatrix_;
  bool pure_ = false, thorough_ = false;
  DeviceFlags device_;
};

}  // namespace

std::unique_ptr<Verb> make_quantize() {
  return std::make_unique<QuantizeVerb>();
}

}  // namespace hone::app
