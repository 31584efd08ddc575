// The kernels compiled for plain C++, the reference that the others are tested against. One source for all
// instruction sets: the .inc files.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O1")  // the reference needs no speed
#endif

#include <math.h>

#include "kernels/isa_table.h"
#include "kernels/vec_scalar.h"
#include "tensor/codec_grids.h"

namespace hone::kernels {
namespace scalar {
namespace {

// Each is written over those before it.
// clang-format off
#include "kernels/formats.inc"
#include "kernels/formats_grid.inc"
#include "kernels/gemv.inc"
#include "kernels/gemm.inc"
#include "kernels/rowops.inc"
#include "kernels/attention.inc"
#include "kernels/table.inc"
// clang-format on

}  // namespace
}  // namespace scalar

const IsaTable& scalar_table() {
  static const IsaTable table = [] {
    IsaTable t{};
    t.isa = Isa::kScalar;
    scalar::enter_all(t);
    t.grouped = scalar_grouped();
    t.dense = &scalar_dense();
    t.attention = &scalar_attention();
    return t;
  }();
  return table;
}

}  // namespace hone::kernels
