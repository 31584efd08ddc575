// Chooses the encoder of a grouped format; see layout_encoders.h.
#include "quant/layout_encoders.h"

namespace hone::quant {

LayoutEncoder::LayoutEncoder(tensor::FormatId format, Isa isa) {
  const tensor::GroupedLayout* l = tensor::grouped_layout(format);
  if (!l) return;
  view_ = {l->bits, l->group, l->block_bytes(), l->scale_bytes(), l->code_offset(), l->scale};
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) encode_ = isa_avx512::layout_encoder(l->code, l->zero);
  if (isa == Isa::kAvx2) encode_ = isa_avx2::layout_encoder(l->code, l->zero);
#endif
  if (!encode_) encode_ = isa_scalar::layout_encoder(l->code, l->zero);
}

}  // namespace hone::quant
