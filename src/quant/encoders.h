// The table of encoders: one row of numbers into one row of blocks, per format and instruction set.
#pragma once

#include <cstddef>

#include "base/cpu.h"
#include "tensor/quant_format.h"

namespace hone::quant {

// x and w: cols values, finite, w >= 0; dst: format_bytes(cols) bytes.
using EncodeRow = void (*)(const float* x, const float* w, size_t cols, std::byte* dst);

struct EncoderRow {
  tensor::FormatId format;
  EncodeRow encode;
};

// The same for rows that follow each other; w: one row's. Chosen first where there is one.
using EncodeRows = void (*)(const float* x, const float* w, size_t rows, size_t cols, std::byte* dst);

struct GroupEncoderRow {
  tensor::FormatId format;
  EncodeRows encode;
};

EncodeRows find_group_encoder(tensor::FormatId format, Isa isa);

// Null when the format has no encoder or the instruction set was not compiled in. Every instruction set
// gives the same bytes.
EncodeRow find_encoder(tensor::FormatId format, Isa isa);

namespace isa_scalar {
EncodeRow find_encoder(tensor::FormatId format);
EncodeRow find_grid_encoder(tensor::FormatId format);
EncodeRows find_group_encoder(tensor::FormatId format);
}
namespace isa_avx2 {
EncodeRow find_encoder(tensor::FormatId format);
EncodeRow find_grid_encoder(tensor::FormatId format);
EncodeRows find_group_encoder(tensor::FormatId format);
}
namespace isa_avx512 {
EncodeRow find_encoder(tensor::FormatId format);
EncodeRow find_grid_encoder(tensor::FormatId format);
EncodeRows find_group_encoder(tensor::FormatId format);
}

}  // namespace hone::quant
