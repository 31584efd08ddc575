// Writes a block whose scales and codes are decided into its storage layout (docs/formats.md).
#pragma once

#include <cstdint>

namespace hone::quant {

// What the scale search hands over. Scales are already representable in their fields.
struct EncodedBlock {
  float scale = 0;       // d
  float offset = 0;      // m of Q4_1 and Q5_1; dmin of the K formats
  int8_t sub_scale[16];  // K formats and IQ4_XS
  int8_t sub_min[16];
  int8_t codes[256];     // the number that the scale multiplies; for IQ4 and FP4 its index
};

void pack_q8_0(const EncodedBlock& e, uint8_t* b);
void pack_q4_0(const EncodedBlock& e, uint8_t* b);
void pack_q4_1(const EncodedBlock& e, uint8_t* b);
void pack_q5_0(const EncodedBlock& e, uint8_t* b);
void pack_q5_1(const EncodedBlock& e, uint8_t* b);
void pack_q2_0(const EncodedBlock& e, uint8_t* b);
void pack_iq4_nl(const EncodedBlock& e, uint8_t* b);
void pack_mxfp4(const EncodedBlock& e, uint8_t* b);  // scale is a power of two
void pack_q2_k(const EncodedBlock& e, uint8_t* b);
void pack_q3_k(const EncodedBlock& e, uint8_t* b);
void pack_q4_k(const EncodedBlock& e, uint8_t* b);
void pack_q5_k(const EncodedBlock& e, uint8_t* b);
void pack_q6_k(const EncodedBlock& e, uint8_t* b);
void pack_q8_k(const EncodedBlock& e, uint8_t* b);
void pack_iq4_xs(const EncodedBlock& e, uint8_t* b);

}  // namespace hone::quant
