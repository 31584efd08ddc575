// The code books of IQ1, IQ2 and IQ3 in the order of the nearest-point search. A point's squared distance is
// a sum over its coordinates, so it is one number for the first half of them and one for the second. There
// are few different halves (81 or 64): their distances are computed once, and a point costs one minimum.
#pragma once

#include <cstdint>

namespace hone::quant {

// First halves ("lows") in runs of equally many second halves ("highs"), so that the search's loops are of
// constant length. A list of highs is made even by repeating one.
struct GridLists {
  struct Run {
    int lows, pairs;
  };
  int dimensions;  // 8 or 4
  int run_count;
  Run runs[41];
  uint8_t low[81];     // digits of the first half as a number, first coordinate least significant
  uint16_t start[82];  // where its highs begin
  uint8_t high[2304];
  uint16_t index[2304];  // of the point, beside its high
  float point[2048][8];  // coordinates by index
};

const GridLists& iq1_lists();
const GridLists& iq2_xxs_lists();
const GridLists& iq2_xs_lists();
const GridLists& iq2_s_lists();
const GridLists& iq3_xxs_lists();
const GridLists& iq3_s_lists();

}  // namespace hone::quant
