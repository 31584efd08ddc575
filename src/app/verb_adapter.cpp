// hone adapter: what a LoRA adapter changes, and the same adapter in another kind of file.
#include <CLI/CLI.hpp>

#include "app/console.h"
#include "app/flags.h"
#include "app/model_argument.h"
#include "app/units.h"
#include "app/verbs.h"
#include "base/error.h"
#include "base/file.h"
#include "formats/gguf.h"
#include "formats/output.h"
#include "formats/safetensors.h"
#include "models/adapter.h"

namespace hone::app {
namespace fs = std::filesystem;
namespace {

class AdapterVerb : public Verb {
 public:
  void define(CLI::App& command) override {
    command.add_option("adapter", adapter_, "A PEFT or MLX directory, or a GGUF adapter")
        ->required()
        ->type_name("ADAPTER");
    command
        .add_option("output", output_,
                    "A .gguf file, or a PEFT directory to make; without it the adapter is shown")
        ->type_name("OUT");
    command.add_option("-m,--model", model_, "The model that the adapter is for")
        ->required()
        ->type_name("MODEL");
    command
        .add_option("--format", format_, "Store the matrices as F32, F16 or BF16; as they are unless given")
        ->type_name("FORMAT");
  }

  int run(Console& console) override {
    while (output_.size() > 1 && output_.back() == '/') output_.pop_back();
    const auto path = resolve_model(model_, console.progress());
    const models::Model model = models::open_model(path);
    const models::Adapter adapter = models::read_adapter(adapter_, model);
    if (output_.empty()) return show(console, model, adapter);
    const auto format = format_.empty() ? std::nullopt : std::optional(parse_plain_format(format_));
    const bool gguf = fs::path(output_).extension() == ".gguf";
    if (gguf) {
      check_output(output_, adapter_);
      const models::AdapterGguf out = models::export_adapter_gguf(model, adapter, format);
      formats::write_gguf(output_, out.metadata, out.tensors, {}, console.progress());
    } else {
      write_peft(model, adapter, format, console);
    }
    if (console.json())
      console.print_json(
          {{"output", output_}, {"kind", gguf ? "gguf" : "peft"}, {"tensors", adapter.updates.size()}});
    else
      console.print(fmt::format("{}: {} weights adapted, rank {}\n", output_, adapter.updates.size(),
                                adapter.largest_rank()));
    return 0;
  }

 private:
  void write_peft(const models::Model& model, const models::Adapter& adapter,
                  std::optional<tensor::FormatId> format, Console& console) const {
    std::error_code none;
    if (fs::exists(output_, none) && (!fs::is_directory(output_, none) || !fs::is_empty(output_, none)))
      fail(ErrorKind::kUsage, "{}: exists and is no empty directory; choose another name", output_);
    check_output(fs::path(output_).parent_path() / ".", adapter_);
    const models::AdapterPeft out = models::export_adapter_peft(model, adapter, format);
    fs::create_directories(output_);
    formats::write_safetensors(fs::path(output_) / "adapter_model.safetensors", out.tensors,
                               {{"format", "pt"}}, console.progress());
    write_text_file(fs::path(output_) / "adapter_config.json", out.config);
  }

  int show(Console& console, const models::Model& model, const models::Adapter& adapter) const {
    uint64_t parameters = 0;
    std::vector<std::vector<std::string>> rows{{"weight", "rank", "scale", ""}};
    Json list = Json::array();
    const auto add = [&](const std::string& name, const tensor::LowRankUpdate& u) {
      parameters += tensor::element_count(u.a.shape) + tensor::element_count(u.b.shape) + u.magnitude.size();
      const bool dora = !u.magnitude.empty();
      rows.push_back(
          {printable(name), fmt::format("{}", u.rank()), fmt::format("{:.6g}", u.scale), dora ? "DoRA" : ""});
      list.push_back({{"name", name}, {"rank", u.rank()}, {"scale", u.scale}, {"dora", dora}});
    };
    for (const models::TensorInfo& info : model.tensor_infos)
      if (const auto found = adapter.updates.find(info.gguf_name); found != adapter.updates.end())
        add(found->first, found->second);
    if (const auto head = adapter.updates.find("output.weight");
        head != adapter.updates.end() && model.config.tied_head)
      add(head->first, head->second);
    for (const auto& [name, view] : adapter.replaced) {
      parameters += tensor::element_count(view.shape);
      rows.push_back({printable(name), "", "", "replaced"});
      list.push_back({{"name", name}, {"replaced", true}});
    }
    if (console.json())
      console.print_json({{"adapter", adapter_}, {"parameters", parameters}, {"tensors", list}});
    else
      console.print(table(rows, {false, true, true, false}) + fmt::format("{} parameters\n", parameters));
    return 0;
  }

  std::string adapter_, output_, model_, format_;
};

}  // namespace

std::unique_ptr<Verb> make_adapter() {
  return std::make_unique<AdapterVerb>();
}

}  // namespace hone::app
