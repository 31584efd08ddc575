// Products of pairs of 16-bit codes in plain C++: what attention_codes.inc is written in. A lane of Pairs is
// two words; multiply_pairs adds both products to the lane's 32-bit sum.
//   splat_pair   one pair in all lanes        store_pairs  lane i: rounded first[i], rounded second[i]

inline constexpr int kCodeRows = 2, kCodeVectors = 1;  // register tile
struct PairSums {
  int32_t v[16];
};
struct Pairs {
  int16_t v[32];
};
HONE_INLINE PairSums no_pairs() {
  return {};
}
HONE_INLINE Pairs load_pairs(const int16_t* p) {
  Pairs r;
  std::memcpy(r.v, p, 64);
  return r;
}
HONE_INLINE Pairs splat_pair(const int16_t* p) {
  Pairs r;
  for (int i = 0; i < 16; ++i) std::memcpy(r.v + 2 * i, p, 4);
  return r;
}
HONE_INLINE PairSums multiply_pairs(PairSums sum, const Pairs& a, const Pairs& b) {
  for (int i = 0; i < 32; ++i)  // sums of what is not finite may wrap
    sum.v[i / 2] = static_cast<int32_t>(static_cast<uint32_t>(sum.v[i / 2]) +
                                        static_cast<uint32_t>(int32_t{a.v[i]} * b.v[i]));
  return sum;
}
HONE_INLINE F32 floats_of(const PairSums& sum) {
  return each([&](int i) { return static_cast<float>(sum.v[i]); });
}
HONE_INLINE void store_pairs(int16_t* p, F32 first, F32 second) {
  int16_t low[16], high[16];
  store_i16(low, round_even(first));
  store_i16(high, round_even(second));
  for (int i = 0; i < 16; ++i) p[2 * i] = low[i], p[2 * i + 1] = high[i];
}
