// Quantized checkpoints of other tools: config.json, NUL, quantize_config.json or nothing, NUL, a safetensors
// file. What the reader puts together is decoded.
#include <algorithm>

#include "base/error.h"
#include "formats/quantized.h"
#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hone;
  const auto* text = reinterpret_cast<const char*>(data);
  const size_t config = static_cast<size_t>(std::find(text, text + size, '\0') - text);
  if (config == size) return 0;
  const size_t old = static_cast<size_t>(std::find(text + config + 1, text + size, '\0') - text);
  if (old == size) return 0;
  try {
    tensor::Checkpoint checkpoint;
    checkpoint.kind = tensor::CheckpointKind::kHuggingFace;
    checkpoint.path = "fuzz";
    checkpoint.texts["config.json"] = std::string(text, config);
    if (old > config + 1)
      checkpoint.texts["quantize_config.json"] = std::string(text + config + 1, old - config - 1);
    formats::read_safetensors_bytes(std::as_bytes(std::span(data + old + 1, size - old - 1)),
                                    "fuzz.safetensors", checkpoint);
    formats::assemble_quantized(checkpoint);
    for (const auto& t : checkpoint.tensors())
      if (t.view.source && tensor::element_count(t.view.shape) < (1u << 20)) tensor::decode(t.view);
  } catch (const Error&) {
  }
  return 0;
}
