// safetensors files: read, and decode what decodes.
#include "base/error.h"
#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hone;
  try {
    tensor::Checkpoint checkpoint;
    formats::read_safetensors_bytes(std::as_bytes(std::span(data, size)), "fuzz.safetensors", checkpoint);
    for (const auto& t : checkpoint.tensors())
      if (tensor::format(t.view.format).decode) tensor::decode(t.view);
  } catch (const Error&) {
  }
  return 0;
}
