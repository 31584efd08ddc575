// NumPy arrays.
#include "base/error.h"
#include "formats/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hone;
  try {
    const auto array = formats::read_npy_bytes(std::as_bytes(std::span(data, size)), "fuzz.npy");
    if (tensor::format(array.format()).decode) tensor::decode(array.view());
  } catch (const Error&) {
  }
  return 0;
}
