// The kernels compiled for AVX2 with FMA and F16C. One source for all instruction sets: the .inc files.
#include <math.h>

#include "kernels/isa_table.h"
#include "kernels/vec_avx2.h"
#include "tensor/codec_grids.h"

namespace hone::kernels {
namespace avx2 {
namespace {

// Each is written over those before it.
// clang-format off
#include "kernels/formats.inc"
#include "kernels/formats_grid.inc"
#include "kernels/gemv.inc"
#include "kernels/gemv16.inc"
#include "kernels/gemm.inc"
#include "kernels/rowops.inc"
#include "kernels/attention.inc"
#include "kernels/table.inc"
// clang-format on

}  // namespace
}  // namespace avx2

const IsaTable& avx2_table() {
  static const IsaTable table = [] {
    IsaTable t{};
    t.isa = Isa::kAvx2;
    avx2::enter_all(t);
    t.grouped = avx2_grouped();
    t.dense = &avx2_dense();
    t.few = &avx2_few();
    t.attention = &avx2_attention();
    avx2::enter_codes(t);
    return t;
  }();
  return table;
}

}  // namespace hone::kernels
