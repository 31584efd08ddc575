// GGUF files: read, decode what decodes, and size what a writer would write.
#include <cstring>

#include "base/error.h"
#include "formats/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hone;
  try {
    const auto checkpoint = formats::read_gguf_bytes(std::as_bytes(std::span(data, size)), "fuzz.gguf");
    std::vector<tensor::OutputTensor> outputs;
    for (const auto& t : checkpoint.tensors()) {
      if (tensor::format(t.view.format).decode) tensor::decode(t.view);
      outputs.push_back({t.name, t.view.format, t.view.shape, {}});
    }
    formats::gguf_file_bytes(checkpoint.metadata, outputs);
    for (const auto& [key, value] : checkpoint.metadata.entries()) checkpoint.metadata.get_ints(key);
  } catch (const Error&) {
  }
  return 0;
}
