// The instruction set's decoder of a format, else the reference.
#pragma once

#include "kernels/grouped_choice.h"
#include "kernels/isa_table.h"
#include "tensor/quant_format.h"

namespace hone::kernels {

class Decoder {
 public:
  Decoder(const IsaTable& t, tensor::FormatId format)
      : fast_(t.decode[static_cast<size_t>(format)]),
        reference_(tensor::format(format).decode),
        grouped_(t, format) {}
  void operator()(const std::byte* src, float* dst, size_t n) const {
    const auto* bytes = reinterpret_cast<const uint8_t*>(src);
    if (fast_) return fast_(bytes, dst, n);
    if (grouped_.kernels) return grouped_.kernels->decode(grouped_.view, bytes, dst, n);
    reference_(src, dst, n);
  }

 private:
  DecodeFn fast_;
  void (*reference_)(const std::byte*, float*, size_t);
  Grouped grouped_;
};

}  // namespace hone::kernels
