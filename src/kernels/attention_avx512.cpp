// Attention compiled for AVX-512.
#include <math.h>

#include "kernels/attention_table.h"
#include "kernels/vec_avx512.h"
#include "tensor/quant_format.h"

namespace hone::kernels {
namespace avx512 {
namespace {

// Each is written over those before it.
// clang-format off
#include "kernels/formats.inc"
#include "kernels/attention_math.inc"
#include "kernels/attention_rows.inc"
#include "kernels/attention_words_avx512.h"
#include "kernels/attention_codes.inc"
// clang-format on

}  // namespace
}  // namespace avx512

const AttentionTable& avx512_attention() {
  static const AttentionTable table = [] {
    AttentionTable t = avx512::make_table();
    avx512::enter_codes(t);
    return t;
  }();
  return table;
}

}  // namespace hone::kernels
