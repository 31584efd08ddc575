// The integer product of many rows compiled for AVX2 with FMA.
#include "kernels/dense.h"
#include "kernels/vec_avx2.h"
#include "tensor/codec_grids.h"
#include "tensor/quant_format.h"

namespace hone::kernels {
namespace avx2 {
namespace {

// Each is written over those before it.
// clang-format off
#include "kernels/formats.inc"
#include "kernels/formats_grid.inc"
#include "kernels/dense_dot_avx2.h"
#include "kernels/dense.inc"
#include "kernels/dense_formats.inc"
#include "kernels/dense_formats_grid.inc"
#include "kernels/dense_table.inc"
// clang-format on

}  // namespace
}  // namespace avx2

const DenseTable& avx2_dense() {
  static const avx2::DenseFormats formats = avx2::make_formats();
  static const DenseTable table{avx2::kR,       avx2::kLanes,     avx2::find_kernel,
                                avx2::quantize, avx2::make_panel, formats.rows};
  return table;
}

}  // namespace hone::kernels
