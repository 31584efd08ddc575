// The kernels compiled for AVX2 with FMA and F16C. One source for all instruction sets: the .inc files.
#include <math.h>

#include "kernels/isa_table.h"
#include "kernels/vec_avx2.h"

namespace hone::kernels {
namespace avx2 {
namespace {

#include "kernels/formats.inc"
// formats first: the rest is written over them
#include "kernels/gemv.inc"
#include "kernels/gemm.inc"
#include "kernels/rowops.inc"
#include "kernels/attention.inc"
#include "kernels/table.inc"

}  // namespace
}  // namespace avx2

const IsaTable& avx2_table() {
  static const IsaTable table = avx2::make_table(Isa::kAvx2);
  return table;
}

}  // namespace hone::kernels
