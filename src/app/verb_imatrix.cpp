// hone imatrix: how much each input of each weight matters on a text, as a file for quantize and
// llama-quantize.
#include <CLI/CLI.hpp>

#include "app/console.h"
#include "app/flags.h"
#include "app/model_argument.h"
#include "app/units.h"
#include "app/validators.h"
#include "app/verbs.h"
#include "base/error.h"
#include "base/file.h"
#include "evaluate/divergence.h"
#include "evaluate/importance.h"
#include "evaluate/self_text.h"
#include "formats/imatrix.h"

namespace hone::app {
namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 30;
constexpr int64_t kOwnChunks = 16;  // pieces of text that a model writes itself unless told
constexpr int64_t kHeadRows =
    128;  // positions of a piece that the head's figures come from (evaluate/importance.h)

using Windows = std::vector<std::vector<text::TokenId>>;

class ImatrixVerb : public Verb {
 public:
  void define(CLI::App& command) override {
    command.add_option("model", model_, "The model to observe; not needed to merge files")
        ->type_name("MODEL");
    command
        .add_option("-f,--text", texts_,
                    "Text to read; may be repeated. Without one the model writes its own")
        ->type_name("FILE")
        ->allow_extra_args(false);
    command.add_option("-o,--output", output_, "The file to write")->required()->type_name("OUT.gguf");
    command.add_option("--in", inputs_, "Add the figures of this importance matrix; may be repeated")
        ->type_name("FILE")
        ->allow_extra_args(false);
    command
        .add_option("--chunks", chunks_,
                    "Most pieces of text to use; all of a file, 16 of the model's own, unless given")
        ->check(between(int64_t{1}, int64_t{1} << 32))
        ->type_name("N");
    command.add_option("-c,--context", context_, "Tokens in a piece")
        ->capture_default_str()
        ->check(between(16, 1 << 20))
        ->type_name("N");
    command.add_flag("--head", head_, "The output head too, over at most 128 positions of each piece");
    command.add_option("--seed", seed_, "Of the model's own text")->capture_default_str()->type_name("N");
    device_.add(command);
  }

  int run(Console& console) override {
    if (model_.empty() && (inputs_.empty() || !texts_.empty()))
      fail(ErrorKind::kUsage, "give a MODEL to observe, or files to merge with --in");
    formats::ImportanceMatrix matrix;
    for (const std::string& input : inputs_) {
      const formats::ImportanceMatrix part = formats::read_imatrix(input);
      if (matrix.entries.empty()) matrix.chunk_size = part.chunk_size;
      matrix.add(part);
    }
    if (!model_.empty()) {
      const auto path = resolve_model(model_, console.progress());
      check_output(output_, path);
      matrix.add(observe(models::open_model(path), console));
      matrix.chunk_size = context_;
    } else {
      check_output(output_, inputs_.front());
    }
    formats::write_imatrix(output_, matrix, console.progress());
    if (console.json())
      console.print_json({{"output", output_},
                          {"weights", matrix.entries.size()},
                          {"chunks", matrix.chunks},
                          {"chunk_size", matrix.chunk_size},
                          {"datasets", matrix.datasets}});
    else
      console.print(fmt::format("{}: {} weights, {} pieces of {} tokens\n", output_, matrix.entries.size(),
                                matrix.chunks, matrix.chunk_size));
    return 0;
  }

 private:
  formats::ImportanceMatrix observe(const models::Model& model, Console& console) {
    const int64_t longest = model.config.context_length;
    if (longest > 0 && context_ > longest)
      fail(ErrorKind::kUsage, "--context {}: {} has a context of {}", context_, model_, longest);
    const auto device = device_.make(true);
    const auto tokenizer = models::load_tokenizer(*model.checkpoint);
    formats::ImportanceMatrix result;
    const Windows windows = read_windows(model, *device, *tokenizer, console, result.datasets);
    const auto means = evaluate::collect_importances(model, *device, windows, console.progress());
    int64_t tokens = 0, head_rows = 0;
    for (const auto& window : windows) {
      const auto length = static_cast<int64_t>(window.size());
      tokens += length, head_rows += std::min(length, kHeadRows);
    }
    for (const models::TensorInfo& info : model.tensor_infos) {
      const bool head = info.role == models::Role::kHead || info.role == models::Role::kEmbedding;
      const auto found = means.find(model.source_name(info));
      if (found == means.end() || (head && !head_)) continue;
      const auto count = static_cast<float>(head ? head_rows : tokens);
      formats::ImportanceEntry entry{found->second, {count}};
      for (float& v : entry.sums) v *= count;
      result.entries.emplace(info.gguf_name, std::move(entry));
    }
    result.chunks = static_cast<int64_t>(windows.size());
    return result;
  }

  Windows read_windows(const models::Model& model, exec::Device& device, const text::Tokenizer& tokenizer,
                       Console& console, std::vector<std::string>& datasets) {
    if (texts_.empty()) {
      datasets.push_back("written by the model itself");
      const int64_t count = chunks_ > 0 ? chunks_ : kOwnChunks;
      Windows windows = evaluate::self_text(model, device, tokenizer, count * context_, context_, seed_,
                                            console.progress());
      if (windows.size() > static_cast<size_t>(count)) windows.resize(static_cast<size_t>(count));
      return windows;
    }
    Windows all;
    for (const std::string& path : texts_) {
      const auto left = chunks_ > 0 ? chunks_ - static_cast<int64_t>(all.size()) : 0;
      if (chunks_ > 0 && left == 0) break;
      const evaluate::WindowOptions options{context_, left, true};
      for (auto& window : evaluate::make_windows(tokenizer, read_text_file(path, kMaxTextBytes), options))
        all.push_back(std::move(window));
      datasets.push_back(std::filesystem::path(path).filename().string());
    }
    return all;
  }

  std::string model_, output_;
  std::vector<std::string> texts_, inputs_;
  int64_t chunks_ = 0, context_ = 512;
  uint64_t seed_ = 0;
  bool head_ = false;
  DeviceFlags device_;
};

}  // namespace

std::unique_ptr<Verb> make_imatrix() {
  return std::make_unique<ImatrixVerb>();
}

}  // namespace hone::app
