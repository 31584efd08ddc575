// hone convert: the same model in the other container, values unchanged unless asked.
#include <CLI/CLI.hpp>

#include "app/console.h"
#include "app/flags.h"
#include "app/model_argument.h"
#include "app/requantize.h"
#include "app/units.h"
#include "app/verbs.h"
#include "base/error.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "models/model.h"
#include "optimize/mix.h"

namespace hone::app {
namespace fs = std::filesystem;
namespace {

class ConvertVerb : public Verb {
 public:
  void define(CLI::App& command) override {
    command.add_option("model", model_, "What to convert")->required()->type_name("MODEL");
    command.add_option("output", output_, "A .gguf file, or a directory to make")
        ->required()
        ->type_name("OUT");
    command.add_option("--to", to_, "gguf or hf; else by the name of OUT")
        ->check(CLI::IsMember({"gguf", "hf"}))
        ->type_name("KIND");
    command.add_option("--dequantize", dequantize_, "Store quantized tensors as F32, F16 or BF16")
        ->type_name("FORMAT");
    command.add_option("--requantize", requantize_, "Store every matrix in this format (GGUF only)")
        ->type_name("FORMAT");
    command.add_option("--max-shard-size", shard_, "Split into files of at most this size")
        ->type_name("SIZE");
    device_.add(command);
  }

  int run(Console& console) override {
    while (output_.size() > 1 && output_.back() == '/') output_.pop_back();
    const bool gguf = to_.empty() ? fs::path(output_).extension() == ".gguf" : to_ == "gguf";
    if (!gguf && !requantize_.empty())
      fail(ErrorKind::kUsage, "--requantize writes GGUF; a Hugging Face directory holds plain formats only");
    if (!requantize_.empty() && !dequantize_.empty())
      fail(ErrorKind::kUsage, "give --requantize or --dequantize, not both");
    const auto path = resolve_model(model_, console.progress());
    const models::Model model = models::open_model(path);
    const int changed = gguf ? to_gguf(model, path, console) : to_hf(model, path, console);
    show(console, gguf, changed);
    return 0;
  }

 private:
  int to_gguf(const models::Model& model, const fs::path& path, Console& console) {
    check_output(output_, path);
    models::GgufExport out = models::export_gguf(model);
    const auto target = !requantize_.empty()   ? std::optional(parse_format(requantize_))
                        : !dequantize_.empty() ? std::optional(parse_plain_format(dequantize_))
                                               : std::nullopt;
    std::vector<tensor::FormatId> formats;
    for (const auto& t : out.tensors) {
      const bool matrix = optimize::is_quantizable({t.name, t.shape, ""});
      const bool applies = target && (requantize_.empty() ? tensor::format(t.format).quantized() : matrix);
      formats.push_back(applies ? *target : t.format);
    }
    ThreadPool pool(device_.threads);
    const RequantizeReport report = requantize(out, formats, {}, pool);
    if (report.changed > 0) {
      const optimize::Mix* mix = optimize::find_mix(tensor::format(*target).name);
      if (mix) out.metadata.set("general.file_type", mix->file_type);
    }
    formats::GgufWriteOptions options;
    if (!shard_.empty()) options.max_shard_bytes = parse_size(shard_);
    for (const auto& file :
         formats::write_gguf(output_, out.metadata, out.tensors, options, console.progress()))
      written_.push_back(file);
    return report.changed;
  }

  int to_hf(const models::Model& model, const fs::path& path, Console& console) {
    std::error_code none;
    if (fs::exists(output_, none) && (!fs::is_directory(output_, none) || !fs::is_empty(output_, none)))
      fail(ErrorKind::kUsage, "{}: exists and is no empty directory; choose another name", output_);
    check_output(fs::path(output_).parent_path() / ".", path);
    const auto plain = dequantize_.empty() ? std::nullopt : std::optional(parse_plain_format(dequantize_));
    const models::HfExport out = models::export_hf(model, plain);
    int changed = 0;
    for (const auto& info : model.tensor_infos)
      changed += plain && tensor::format(model.source(info).view.format).quantized();
    formats::write_hf_directory(output_, out.texts, out.tensors,
                                shard_.empty() ? 5'000'000'000 : parse_size(shard_), console.progress());
    for (const auto& entry : fs::directory_iterator(output_)) written_.push_back(entry.path());
    std::sort(written_.begin(), written_.end());
    return changed;
  }

  void show(Console& console, bool gguf, int changed) const {
    uint64_t bytes = 0;
    Json files = Json::array();
    for (const auto& file : written_) bytes += fs::file_size(file), files.push_back(file.string());
    if (console.json()) {
      console.print_json({{"output", output_},
                          {"kind", gguf ? "gguf" : "hf"},
                          {"lossless", changed == 0},
                          {"tensors_changed", changed},
                          {"bytes", bytes},
                          {"files", files}});
      return;
    }
    const std::string how =
        changed == 0 ? "every value as it was" : fmt::format("{} tensors in another format", changed);
    console.print(fmt::format("{}: {} in {} file{}, {}\n", output_, human_bytes(bytes), written_.size(),
                              written_.size() == 1 ? "" : "s", how));
  }

  std::string model_, output_, to_, dequantize_, requantize_, shard_;
  std::vector<fs::path> written_;
  DeviceFlags device_;
};

}  // namespace

std::unique_ptr<Verb> make_convert() {
  return std::make_unique<ConvertVerb>();
}

}  // namespace hone::app
