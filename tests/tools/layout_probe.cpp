// Writes a model as a directory in another tool's quantized layout, for the comparisons of tests/peers:
//   layout_probe MODEL mlx|compressed-tensors|gptq OUT [MATRICES [DOWN]]
// MATRICES: a storage format for every matrix of the blocks, DOWN: another one for ffn_down; without them
// nothing changes.
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "models/export.h"

namespace {

using namespace hone;

tensor::Container layout_of(const std::string& name) {
  if (name == "mlx") return tensor::Container::kMlx;
  if (name == "gptq") return tensor::Container::kGptq;
  if (name == "compressed-tensors") return tensor::Container::kCompressedTensors;
  fail(ErrorKind::kUsage, "'{}' is no layout", name);
}

tensor::FormatId format_of(const char* name) {
  const tensor::QuantFormat* found = tensor::find_format(name);
  if (!found) fail(ErrorKind::kUsage, "'{}' is no storage format", name);
  return found->id;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fputs("usage: layout_probe MODEL LAYOUT OUT [MATRICES [DOWN]]\n", stderr);
    return 2;
  }
  try {
    const models::Model model = models::open_model(argv[1]);
    ThreadPool pool(2);
    models::HfTarget target;
    target.layout = layout_of(argv[2]);
    target.pool = &pool;
    for (const models::TensorInfo& info : model.tensor_infos)
      if (argc > 4 && info.layer >= 0 && info.shape.size() == 2)
        target.formats[info.gguf_name] =
            format_of(argc > 5 && info.role == models::Role::kDown ? argv[5] : argv[4]);
    const models::HfExport out = models::export_quantized_hf(model, target);
    formats::write_hf_directory(argv[3], out.texts, out.tensors, out.options);
    std::printf("%zu tensors written, %zu encoded anew\n", out.tensors.size(), out.changed.size());
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return exit_code(e.kind());
  }
}
