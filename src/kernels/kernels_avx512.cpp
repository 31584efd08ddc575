// The kernels compiled for AVX-512. One source for all instruction sets: the .inc files.
#include <math.h>

#include "kernels/isa_table.h"
#include "kernels/vec_avx512.h"
#include "tensor/codec_grids.h"

namespace hone::kernels {
namespace avx512 {
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
}  // namespace avx512

const IsaTable& avx512_table() {
  static const IsaTable table = [] {
    IsaTable t{};
    t.isa = Isa::kAvx512;
    avx512::enter_all(t);
    t.grouped = avx512_grouped();
    t.dense = &avx512_dense();
    t.few = &avx512_few();
    t.attention = &avx512_attention();
    avx512::enter_codes(t);
    return t;
  }();
  return table;
}

}  // namespace hone::kernels
