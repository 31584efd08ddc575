// hone convert: the same model in another container. Numbers stay as they are where the target can hold them;
// where it cannot, the user says so (--requantize, --dequantize) and is told what it cost.
#include <CLI/CLI.hpp>

#include "app/adapter_flags.h"
#include "app/console.h"
#include "app/conversion.h"
#include "app/flags.h"
#include "app/model_argument.h"
#include "app/requantize.h"
#include "app/units.h"
#include "app/verbs.h"
#include "base/error.h"
#include "base/json.h"
#include "formats/gguf.h"
#include "formats/imatrix.h"
#include "formats/safetensors.h"
#include "formats/tokenizer_files.h"
#include "models/export.h"
#include "models/export_tokenizer.h"
#include "optimize/mix.h"

namespace hone::app {
namespace fs = std::filesystem;
namespace {

using tensor::FormatId;

class ConvertVerb : public Verb {
 public:
  void define(CLI::App& command) override {
    command.add_option("model", model_, "What to convert")->required()->type_name("MODEL");
    command.add_option("output", output_, "A .gguf file, or a directory to make")
        ->required()
        ->type_name("OUT");
    std::vector<std::string> kinds;
    for (const OutputKind& kind : output_kinds()) kinds.emplace_back(kind.name);
    command.add_option("--to", to_, "gguf, hf, mlx, gptq or compressed-tensors; else by the name of OUT")
        ->check(CLI::IsMember(kinds))
        ->type_name("KIND");
    command.add_option("--dequantize", dequantize_, "Store quantized tensors as F32, F16 or BF16")
        ->type_name("FORMAT");
    command
        .add_option(
            "--requantize", requantize_,
            "Store every matrix in this format: Q4_K and so on for gguf; 4bit, INT4_G32, MXFP4 and so on "
            "for mlx, gptq and compressed-tensors; F32, F16 or BF16 for hf")
        ->type_name("FORMAT");
    command.add_option("--imatrix", imatrix_, "Importance matrix for --requantize (GGUF or .dat)")
        ->type_name("FILE");
    command.add_flag("--tokenizer-only", tokenizer_only_,
                     "The tokenizer and chat template without the weights");
    command.add_option("--max-shard-size", shard_, "Split into files of at most this size")
        ->type_name("SIZE");
    merge_.add(command);
    device_.add(command);
  }

  int run(Console& console) override {
    while (output_.size() > 1 && output_.back() == '/') output_.pop_back();
    kind_ = &output_kind(to_, output_);
    check_options();
    const auto path = resolve_model(model_, console.progress());
    if (kind_->directory)
      check_directory(path);
    else
      check_output(output_, path);
    if (tokenizer_only_ || is_bare_tokenizer(path)) return write_tokenizer(path, console);

    models::Model model = models::open_model(path);
    if (merge_.any()) merged_ = merge_.merge(model);
    ThreadPool pool(device_.threads);
    if (!imatrix_.empty()) importances_ = formats::read_imatrix(imatrix_).mean_squares();
    if (!kind_->directory)
      to_gguf(model, pool, console);
    else if (kind_->layout && (!requantize_.empty() || dequantize_.empty()))
      to_layout(model, pool, console);
    else
      to_plain(model, pool, console);
    std::vector<ClassError> errors;
    if (changed_ > 0)
      errors = conversion_errors(model, kind_->directory ? fs::path(output_) : written_.front(), pool);
    show(console, errors);
    return 0;
  }

 private:
  void check_options() const {
    if (!requantize_.empty() && !dequantize_.empty())
      fail(ErrorKind::kUsage, "give --requantize or --dequantize, not both");
    if (!imatrix_.empty() && requantize_.empty())
      fail(ErrorKind::kUsage,
           "--imatrix says what matters when tensors are encoded anew; give --requantize too");
    if (tokenizer_only_ && (merge_.any() || !requantize_.empty() || !dequantize_.empty()))
      fail(ErrorKind::kUsage, "--tokenizer-only writes no weights; leave out what changes them");
  }

  void check_directory(const fs::path& path) const {
    std::error_code none;
    if (fs::exists(output_, none) && (!fs::is_directory(output_, none) || !fs::is_empty(output_, none)))
      fail(ErrorKind::kUsage, "{}: exists and is no empty directory; choose another name", output_);
    check_output(fs::path(output_).parent_path() / ".", path);
  }

  // A vocabulary-only GGUF, a tokenizer.json, a directory without weights.
  static bool is_bare_tokenizer(const fs::path& path) {
    return models::open_checkpoint(path).tensors().empty();
  }

  int write_tokenizer(const fs::path& path, Console& console) {
    const tensor::Checkpoint checkpoint = models::open_checkpoint(path);
    if (kind_->directory) {
      formats::write_tokenizer_files(output_, models::export_tokenizer_hf(checkpoint));
      list_directory();
    } else {
      written_ =
          formats::write_gguf(output_, models::export_tokenizer_gguf(checkpoint), {}, {}, console.progress());
    }
    show(console, {});
    return 0;
  }

  // Merged weights that were quantized go back to their format unless something else is asked for.
  std::optional<FormatId> wanted_after_merge(const std::string& gguf_name) const {
    const auto found = merged_.from_quantized.find(gguf_name);
    return found == merged_.from_quantized.end() ? std::nullopt : std::optional(found->second);
  }

  void to_gguf(const models::Model& model, ThreadPool& pool, Console& console) {
    models::GgufExport out = models::export_gguf(model);
    const auto target = !requantize_.empty()   ? std::optional(parse_format(requantize_))
                        : !dequantize_.empty() ? std::optional(parse_plain_format(dequantize_))
                                               : std::nullopt;
    std::vector<FormatId> formats;
    for (const auto& t : out.tensors) {
      const bool matrix = optimize::is_quantizable({t.name, t.shape, ""});
      const bool applies = target && (requantize_.empty() ? tensor::format(t.format).quantized() : matrix);
      FormatId format = t.format;
      if (applies)
        format = *target;
      else if (const auto before = wanted_after_merge(t.name);
               before && tensor::format(*before).gguf_type >= 0)
        format = *before;
      if (format == t.format && out.not_exact.contains(t.name)) refuse(out.not_exact);
      formats.push_back(format);
    }
    const RequantizeReport report = requantize(out, formats, importances_, pool);
    changed_ = report.changed;
    if (report.changed > 0 && target) {
      const optimize::Mix* mix = optimize::find_mix(tensor::format(*target).name);
      out.metadata.set("general.file_type", mix ? mix->file_type : models::gguf_file_type(*target));
    }
    formats::GgufWriteOptions options;
    if (!shard_.empty()) options.max_shard_bytes = parse_size(shard_);
    written_ = formats::write_gguf(output_, out.metadata, out.tensors, options, console.progress());
  }

  [[noreturn]] static void refuse(const std::map<std::string, std::string>& reasons) {
    fail(ErrorKind::kUnsupported,
         "{} tensors have numbers that no GGUF type holds exactly (first '{}': {}); name a format with "
         "--requantize, or "
         "--dequantize",
         reasons.size(), reasons.begin()->first, reasons.begin()->second);
  }

  // Loaders of GPTQ and compressed-tensors take embedding and head as floats.
  bool groups_apply(const models::TensorInfo& info) const {
    const bool outer = info.role == models::Role::kEmbedding || info.role == models::Role::kHead;
    return optimize::is_quantizable({info.gguf_name, info.shape, ""}) &&
           (kind_->layout == tensor::Container::kMlx || !outer);
  }

  // The kind's usual group, or the largest below it that divides the rows of every matrix: one size serves
  // all.
  uint16_t default_group(const models::Model& model) const {
    uint16_t group = kind_->group;
    for (const auto& info : model.tensor_infos)
      while (group > 32 && groups_apply(info) && info.shape.back() % group != 0) group /= 2;
    return group;
  }

  void to_layout(const models::Model& model, ThreadPool& pool, Console& console) {
    models::HfTarget target;
    target.layout = *kind_->layout;
    target.importances = importances_;
    target.pool = &pool;
    std::optional<FormatId> spec;
    if (!requantize_.empty())
      spec = parse_group_format(requantize_,
                                {kind_->name, default_group(model), scale_type(model, *kind_), kind_->zero});
    for (const auto& info : model.tensor_infos) {
      if (const auto before = wanted_after_merge(info.gguf_name)) target.formats[info.gguf_name] = *before;
      if (spec && groups_apply(info) && tensor::divides(*spec, static_cast<uint64_t>(info.shape.back())))
        target.formats[info.gguf_name] = *spec;
    }
    if (spec && target.formats.empty())
      fail(ErrorKind::kUsage, "no matrix divides into the groups of {}; choose smaller groups",
           tensor::format(*spec).name);
    models::HfExport out = models::export_quantized_hf(model, target);
    changed_ = static_cast<int>(out.changed.size());
    write_directory(std::move(out), console);
  }

  void to_plain(const models::Model& model, ThreadPool& pool, Console& console) {
    std::optional<FormatId> plain;
    if (!dequantize_.empty()) plain = parse_plain_format(dequantize_);
    if (!requantize_.empty()) plain = parse_plain_format(requantize_);
    models::HfExport out = models::export_hf(model, plain);
    for (const auto& info : model.tensor_infos)
      changed_ += plain && tensor::format(model.source(info).view.format).quantized();
    if (!requantize_.empty()) changed_ += restate(out, *plain, pool);
    write_directory(std::move(out), console);
  }

  // Plain tensors in another plain type.
  static int restate(models::HfExport& out, FormatId plain, ThreadPool& pool) {
    int changed = 0;
    for (auto& t : out.tensors) {
      if (t.format == plain || tensor::format(t.format).quantized()) continue;
      t.produce = [source = t, plain, &pool](std::span<std::byte> dst) {
        std::vector<std::byte> bytes(
            tensor::format_bytes(source.format, tensor::element_count(source.shape)));
        source.produce(bytes);
        encode_plain({source.format, source.shape, bytes}, plain, dst, pool);
      };
      t.format = plain;
      t.view = {FormatId::kF32, {0}, {}};
      ++changed;
    }
    if (Json config = parse_json(out.texts.at("config.json"), "config.json"); config.is_object()) {
      const char* key = config.contains("dtype") ? "dtype" : "torch_dtype";
      config[key] = plain == FormatId::kBF16 ? "bfloat16" : plain == FormatId::kF16 ? "float16" : "float32";
      out.texts["config.json"] = dump_json(config, 2) + "\n";
    }
    return changed;
  }

  static void encode_plain(const tensor::TensorView& source, FormatId plain, std::span<std::byte> dst,
                           ThreadPool& pool) {
    const auto cols = static_cast<uint64_t>(source.row_length());
    const uint64_t row_bytes = tensor::format_bytes(plain, cols);
    pool.for_range(source.rows(), 16, [&](size_t begin, size_t end, int) {
      std::vector<float> row(cols);
      for (size_t r = begin; r < end; ++r) {
        tensor::decode_rows(source, r, 1, row.data());
        tensor::format(plain).encode(row.data(), dst.data() + r * row_bytes, cols);
      }
    });
  }

  void write_directory(models::HfExport out, Console& console) {
    if (!shard_.empty()) out.options.max_shard_bytes = parse_size(shard_);
    formats::write_hf_directory(output_, out.texts, out.tensors, out.options, console.progress());
    list_directory();
  }

  void list_directory() {
    for (const auto& entry : fs::directory_iterator(output_)) written_.push_back(entry.path());
    std::sort(written_.begin(), written_.end());
  }

  void show(Console& console, const std::vector<ClassError>& errors) const {
    uint64_t bytes = 0;
    Json files = Json::array(), classes = Json::array();
    for (const auto& file : written_) bytes += fs::file_size(file), files.push_back(file.string());
    for (const ClassError& e : errors)
      classes.push_back({{"class", e.name}, {"tensors", e.tensors}, {"relative_error", e.relative}});
    if (console.json()) {
      console.print_json({{"output", output_},
                          {"kind", kind_->name},
                          {"lossless", changed_ == 0},
                          {"tensors_changed", changed_},
                          {"tensors_merged", merged_.changed.size()},
                          {"errors", classes},
                          {"bytes", bytes},
                          {"files", files}});
      return;
    }
    const std::string how = changed_ == 0 ? "lossless: every value as it was"
                            : errors.empty()
                                ? fmt::format("{} tensors in another format, every value as it was", changed_)
                                : fmt::format("{} tensors in another format", changed_);
    console.print(fmt::format("{}: {} in {} file{}, {}\n", output_, human_bytes(bytes), written_.size(),
                              written_.size() == 1 ? "" : "s", how));
    if (!merged_.changed.empty())
      console.print(fmt::format("{} tensors merged with adapters\n", merged_.changed.size()));
    if (errors.empty()) return;
    std::vector<std::vector<std::string>> rows = {{"class", "tensors", "relative error"}};
    for (const ClassError& e : errors)
      rows.push_back({e.name, std::to_string(e.tensors), fmt::format("{:.3f} %", 100 * e.relative)});
    console.print("\n" + table(rows, {false, true, true}));
  }

  std::string model_, output_, to_, dequantize_, requantize_, imatrix_, shard_;
  bool tokenizer_only_ = false;
  const OutputKind* kind_ = nullptr;
  std::map<std::string, std::vector<float>> importances_;
  models::MergeReport merged_;
  int changed_ = 0;
  std::vector<fs::path> written_;
  MergeFlags merge_;
  DeviceFlags device_;
};

}  // namespace

std::unique_ptr<Verb> make_convert() {
  return std::make_unique<ConvertVerb>();
}

}  // namespace hone::app
