// Encoders of the grouped formats (tensor/grouped.h). One function per way of placing values on codes; width,
// length of the group and types of scale and zero are read at run time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"
#include "tensor/grouped.h"

namespace hone::quant {

// A layout as plain numbers, for sources that are compiled per instruction set.
struct LayoutView {
  int bits, group;
  size_t block_bytes, second_offset, code_offset;  // second: bias or zero point
  tensor::ScaleType scale;
};
// x and w: rows of cols values that follow each other, and the weights of one row; finite, w >= 0.
using EncodeLayout = void (*)(const LayoutView& l, const float* x, const float* w, size_t rows, size_t cols,
                              std::byte* dst);

namespace isa_scalar {
EncodeLayout layout_encoder(tensor::CodeKind code, tensor::ZeroKind zero);
}
namespace isa_avx2 {
EncodeLayout layout_encoder(tensor::CodeKind code, tensor::ZeroKind zero);
}
namespace isa_avx512 {
EncodeLayout layout_encoder(tensor::CodeKind code, tensor::ZeroKind zero);
}

// The encoder of a grouped format; empty for every other format. Every instruction set gives the same bytes.
class LayoutEncoder {
 public:
  LayoutEncoder(tensor::FormatId format, Isa isa);
  explicit operator bool() const { return encode_ != nullptr; }
  void operator()(const float* x, const float* w, size_t rows, size_t cols, std::byte* dst) const {
    encode_(view_, x, w, rows, cols, dst);
  }

 private:
  EncodeLayout encode_ = nullptr;
  LayoutView view_{};
};

}  // namespace hone::quant
