// Attention compiled for AVX2.
#include <math.h>

#include "kernels/attention_table.h"
#include "kernels/vec_avx2.h"
#include "tensor/quant_format.h"

namespace hone::kernels {
namespace avx2 {
namespace {

// Each is written over those before it.
// clang-format off
#include "kernels/formats.inc"
#include "kernels/attention_math.inc"
#include "kernels/attention_rows.inc"
#include "kernels/attention_words_avx2.h"
#include "kernels/attention_codes.inc"
// clang-format on

}  // namespace
}  // namespace avx2

const AttentionTable& avx2_attention() {
  static const AttentionTable table = [] {
    AttentionTable t = avx2::make_table();
    avx2::enter_codes(t);
    return t;
  }();
  return table;
}

}  // namespace hone::kernels
