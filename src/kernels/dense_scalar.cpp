// The integer product of many rows compiled for plain C++, the reference that the others are tested against.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O1")  // the reference needs no speed
#endif

#include "kernels/dense.h"
#include "kernels/vec_scalar.h"
#include "tensor/codec_grids.h"
#include "tensor/quant_format.h"

namespace hone::kernels {
namespace scalar {
namespace {

// Each is written over those before it.
// clang-format off
#include "kernels/formats.inc"
#include "kernels/formats_grid.inc"
#include "kernels/dense_dot_scalar.h"
#include "kernels/dense.inc"
#include "kernels/dense_formats.inc"
#include "kernels/dense_formats_grid.inc"
#include "kernels/dense_table.inc"
// clang-format on

}  // namespace
}  // namespace scalar

const DenseTable& scalar_dense() {
  static const scalar::DenseFormats formats = scalar::make_formats();
  static const DenseTable table{scalar::kR,       scalar::kLanes,     scalar::find_kernel,
                                scalar::quantize, scalar::make_panel, formats.rows};
  return table;
}

}  // namespace hone::kernels
