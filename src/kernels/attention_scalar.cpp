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
#include "kernels/attention_words_scalar.h"
#include "kernels/attention_codes.inc"
// clang-format on

}  // namespace
}  // namespace scalar

const AttentionTable& scalar_attention() {
  static const AttentionTable table = [] {
    AttentionTable t = scalar::make_table();
    scalar::enter_codes(t);
    return t;
  }();
  return table;
}

}  // namespace hone::kernels
