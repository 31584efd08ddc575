// Blocks whose elements each have a code of their own: value = scale * sub-scale * level[code] (+ minimum).
// What searches over codes need to know of such a storage format; one row per format.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/pack.h"
#include "tensor/quant_format.h"

namespace hone::quant {

struct BlockForm {
  tensor::FormatId format;
  int block, piece;     // elements of a block, and of a piece that has a sub-scale (block: none)
  int low, high;        // codes
  const float* levels;  // per code; null: the code is the number
  bool minimum;         // EncodedBlock::offset: added as it is, or with sub-scales dmin * sub_min subtracted
  int sub_low, sub_high;  // of sub_scale (and 0..sub_high of sub_min); both 0: there are none
  bool power_of_two;      // of the scale; else F16
  void (*pack)(const EncodedBlock& e, uint8_t* bytes);
  void (*unpack)(const uint8_t* bytes, EncodedBlock& e);

  bool has_sub_scales() const { return sub_high != 0; }
  int pieces() const { return block / piece; }
  // Factor and addend of the elements of a piece.
  float factor(const EncodedBlock& e, int p) const {
    return has_sub_scales() ? e.scale * static_cast<float>(e.sub_scale[p]) : e.scale;
  }
  float addend(const EncodedBlock& e, int p) const {
    if (!minimum) return 0;
    return has_sub_scales() ? -e.offset * static_cast<float>(e.sub_min[p]) : e.offset;
  }
  float level(int code) const { return levels ? levels[code] : static_cast<float>(code); }
};

// Null for formats without codes of single elements (code books, floats) and those that are not searched.
const BlockForm* find_block_form(tensor::FormatId format);

}  // namespace hone::quant
