// The kernels compiled for plain C++, the reference that the others are tested against. One source for all instruction sets: the .inc files.
#pragma GCC optimize("O1")

#include <math.h>

#include "kernels/isa_table.h"
#include "kernels/vec_scalar.h"

namespace hone::kernels {
namespace scalar {
namespace {

#include "kernels/formats.inc"
// formats first: the rest is written over them
#include "kernels/gemv.inc"
#include "kernels/gemm.inc"
#include "kernels/rowops.inc"
#include "kernels/attention.inc"
#include "kernels/table.inc"

}  // namespace
}  // namespace scalar

const IsaTable& scalar_table() {
  static const IsaTable table = scalar::make_table(Isa::kScalar);
  return table;
}

}  // namespace hone::kernels
