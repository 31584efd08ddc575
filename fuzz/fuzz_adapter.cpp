// Adapter files: a configuration and weights (PEFT or MLX), GGUF adapters, control vectors, importance
// matrices of both kinds. What reads well is fitted to a small model, merged and written.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "formats/adapter.h"
#include "formats/gguf.h"
#include "formats/imatrix.h"
#include "formats/safetensors.h"
#include "models/adapter.h"

namespace {

using namespace hone;

models::Model small_model() {
  auto checkpoint = std::make_shared<tensor::Checkpoint>();
  checkpoint->kind = tensor::CheckpointKind::kHuggingFace;
  checkpoint->path = "made";
  checkpoint->texts["config.json"] =
      R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 5, "hidden_size": 4,
          "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 6,
          "max_position_embeddings": 8, "tie_word_embeddings": true})";
  models::Model model;
  model.family = &models::find_family(*checkpoint);
  model.config = model.family->read_config(*checkpoint);
  model.tensor_infos = model.family->tensors(model.config, *checkpoint);
  for (const models::TensorInfo& info : model.tensor_infos) {
    auto t = std::make_shared<tensor::Tensor>(tensor::FormatId::kF32, info.shape);
    checkpoint->add({info.hf_name, t->view()});
    checkpoint->keep_alive(t);
  }
  model.checkpoint = checkpoint;
  return model;
}

void use(formats::AdapterFile file) {
  static const models::Model kModel = small_model();
  const models::Adapter adapter = models::fit_adapter(std::move(file), kModel);
  models::Model merged = kModel;
  models::merge_adapter(merged, adapter, 0.5);
  for (const models::TensorInfo& info : merged.tensor_infos) tensor::decode(merged.source(info).view);
  const auto produce = [](const std::vector<tensor::OutputTensor>& tensors) {
    for (const auto& t : tensors) {
      std::vector<std::byte> bytes(tensor::format_bytes(t.format, tensor::element_count(t.shape)));
      t.produce(bytes);
    }
  };
  produce(models::export_adapter_peft(kModel, adapter).tensors);
  produce(models::export_adapter_gguf(kModel, adapter, tensor::FormatId::kF16).tensors);
}

template <typename F>
void attempt(F body) {
  try {
    body();
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  if (size >= 4 && std::memcmp(data, "GGUF", 4) == 0) {
    attempt([&] {
      const tensor::Checkpoint file = formats::read_gguf_bytes(bytes, "fuzz.gguf");
      attempt([&] { use(formats::parse_gguf_adapter(file, "fuzz.gguf")); });
      attempt([&] { formats::parse_control_vector(file, "fuzz.gguf"); });
      attempt([&] { formats::parse_imatrix(file, "fuzz.gguf").mean_squares(); });
    });
  } else if (const auto* nul = std::find(data, data + size, uint8_t{0});
             size > 0 && data[0] == '{' && nul != data + size) {
    const std::string config(reinterpret_cast<const char*>(data), static_cast<size_t>(nul - data));
    attempt([&] {
      tensor::Checkpoint weights;
      formats::read_safetensors_bytes(bytes.subspan(config.size() + 1), "fuzz.safetensors", weights);
      attempt([&] { use(formats::parse_peft(config, weights, "fuzz")); });
      attempt([&] { use(formats::parse_mlx(config, weights, "fuzz")); });
    });
  } else {
    attempt([&] {
      formats::ImportanceMatrix matrix = formats::parse_old_imatrix(bytes, "fuzz.dat");
      matrix.mean_squares();
      matrix.add(matrix);
    });
  }
  return 0;
}
