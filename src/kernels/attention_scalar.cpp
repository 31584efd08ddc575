// Attention compiled for plain C++.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O1")  // the reference needs no speed
#endif

#include <math.h>

#include "kernels/attention_table.h"
#include "kernels/vec_scalar.h"
#include "tensor/quant_format.h"

namespace hone::kernels {
namespace scalar {
namespace {

// Each is written over those before it.
// clang-format off
#include "kernels/formats.inc"
#include "kernels/attention_math.inc"
#include "kernels/attention_rows.inc"
// clang-format on

}  // namespace
}  // namespace scalar

const AttentionTable& scalar_attention() {
  static const AttentionTable table = scalar::make_table();
  return table;
}

}  // namespace hone::kernels
