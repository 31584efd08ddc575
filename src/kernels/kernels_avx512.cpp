// The kernels compiled for AVX-512. One source for all instruction sets: the .inc files.
#include <math.h>

#include "kernels/isa_table.h"
#include "kernels/vec_avx512.h"

namespace hone::kernels {
namespace avx512 {
namespace {

#include "kernels/formats.inc"
// formats first: the rest is written over them
#include "kernels/gemv.inc"
#include "kernels/gemm.inc"
#include "kernels/rowops.inc"
#include "kernels/attention.inc"
#include "kernels/table.inc"

}  // namespace
}  // namespace avx512

const IsaTable& avx512_table() {
  static const IsaTable table = avx512::make_table(Isa::kAvx512);
  return table;
}

}  // namespace hone::kernels
