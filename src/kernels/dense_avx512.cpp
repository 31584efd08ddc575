// The integer product of many rows compiled for AVX-512 with VNNI.
#include "kernels/dense.h"
#include "kernels/vec_avx512.h"
#include "tensor/codec_grids.h"
#include "tensor/quant_format.h"

namespace hone::kernels {
namespace avx512 {
namespace {

// Each is written over those before it.
// clang-format off
#include "kernels/formats.inc"
#include "kernels/formats_grid.inc"
#include "kernels/dense_dot_avx512.h"
#include "kernels/dense.inc"
#include "kernels/dense_formats.inc"
#include "kernels/dense_formats_grid.inc"
#include "kernels/dense_table.inc"
// clang-format on

}  // namespace
}  // namespace avx512

const DenseTable& avx512_dense() {
  static const avx512::DenseFormats formats = avx512::make_formats();
  static const DenseTable table{avx512::kR,       avx512::kLanes,     avx512::find_kernel,
                                avx512::quantize, avx512::make_panel, formats.rows};
  return table;
}

}  // namespace hone::kernels
