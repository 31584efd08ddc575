// Blocks of the formats whose codes are points of a book, or of very few values: what the search hands over
// and how it is written (docs/formats.md).
#pragma once

#include <cstdint>

namespace hone::quant {

// A super-block of 256 of IQ1, IQ2 or IQ3.
struct GridBlock {
  float scale = 0;     // d
  uint8_t sub[16];     // S per group; the group's scale is an odd multiple 2 S + 1
  uint16_t index[64];  // point per vector of 8 or 4
  uint8_t signs[32];   // per 8 values, bit i negates value i; of IQ1: 1 where the shift is -1/8
};

void pack_iq1_s(const GridBlock& e, uint8_t* b);
void pack_iq1_m(const GridBlock& e, uint8_t* b);
void pack_iq2_xxs(const GridBlock& e, uint8_t* b);
void pack_iq2_xs(const GridBlock& e, uint8_t* b);
void pack_iq2_s(const GridBlock& e, uint8_t* b);
void pack_iq3_xxs(const GridBlock& e, uint8_t* b);
void pack_iq3_s(const GridBlock& e, uint8_t* b);

// d and 256 codes -1, 0, 1.
void pack_tq1_0(float d, const int8_t* codes, uint8_t* b);
void pack_tq2_0(float d, const int8_t* codes, uint8_t* b);
// d and 128 bits, set where the value is d.
void pack_q1_0(float d, const uint8_t* bits, uint8_t* b);

}  // namespace hone::quant
