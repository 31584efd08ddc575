#include "tensor/transcode.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/half.h"
#include "tensor/codec.h"

namespace hone::tensor {
namespace {

// A GGUF format and the grouped layout with the same numbers. split: one block to block / group grouped
// blocks; join: back, false when the block cannot say it.
struct Equivalent {
  FormatId id;
  GroupedLayout layout;
  void (*split)(const uint8_t* block, std::byte* grouped);
  bool (*join)(const std::byte* grouped, uint8_t* block);
};

// Nibbles (k, k + 16) a byte, and the fifth bits in a 32-bit word where there are any.
template <int kBits>
void unpack_halves(const uint8_t* nibbles, const uint8_t* high, uint8_t* codes) {
  const uint32_t fifth = kBits == 5 ? load<uint32_t>(high) : 0;
  for (unsigned k = 0; k < 16; ++k) {
    codes[k] = static_cast<uint8_t>((nibbles[k] & 15) | (((fifth >> k) & 1) << 4));
    codes[k + 16] = static_cast<uint8_t>((nibbles[k] >> 4) | (((fifth >> (k + 16)) & 1) << 4));
  }
}
template <int kBits>
void pack_halves(const uint8_t* codes, uint8_t* nibbles, uint8_t* high) {
  uint32_t fifth = 0;
  for (unsigned k = 0; k < 16; ++k) {
    nibbles[k] = static_cast<uint8_t>((codes[k] & 15) | ((codes[k + 16] & 15) << 4));
    fifth |= static_cast<uint32_t>(codes[k] >> 4) << k | static_cast<uint32_t>(codes[k + 16] >> 4)
                                                             << (k + 16);
  }
  if (kBits == 5) store<uint32_t>(high, fifth);
}

// Q4_0, Q4_1, Q5_0, Q5_1: kHead bytes of scale and minimum are the same in both.
template <int kBits, int kHead>
void split_simple(const uint8_t* block, std::byte* grouped) {
  uint8_t codes[32];
  unpack_halves<kBits>(block + kHead + (kBits == 5 ? 4 : 0), block + kHead, codes);
  std::memcpy(grouped, block, kHead);
  pack_codes(kBits, codes, grouped + kHead, 32);
}
template <int kBits, int kHead>
bool join_simple(const std::byte* grouped, uint8_t* block) {
  uint8_t codes[32];
  unpack_codes(kBits, grouped + kHead, codes, 32);
  std::memcpy(block, grouped, kHead);
  pack_halves<kBits>(codes, block + kHead + (kBits == 5 ? 4 : 0), block + kHead);
  return true;
}

void split_q8_0(const uint8_t* block, std::byte* grouped) {
  std::memcpy(grouped, block, 2);
  for (int i = 0; i < 32; ++i) grouped[2 + i] = static_cast<std::byte>(block[2 + i] ^ 0x80);
}
bool join_q8_0(const std::byte* grouped, uint8_t* block) {
  std::memcpy(block, grouped, 2);
  for (int i = 0; i < 32; ++i)
    block[2 + i] = static_cast<uint8_t>(std::to_integer<uint8_t>(grouped[2 + i]) ^ 0x80);
  return true;
}

// d * (q - 1): a zero point of 1.
void split_q2_0(const uint8_t* block, std::byte* grouped) {
  std::memcpy(grouped, block, 2);
  grouped[2] = std::byte{1};
  std::memcpy(grouped + 3, block + 2, 16);
}
bool join_q2_0(const std::byte* grouped, uint8_t* block) {
  std::memcpy(block, grouped, 2);
  std::memcpy(block + 2, grouped + 3, 16);
  return grouped[2] == std::byte{1};
}

void split_mxfp4(const uint8_t* block, std::byte* grouped) {
  grouped[0] = static_cast<std::byte>(block[0]);
  uint8_t codes[32];
  unpack_halves<4>(block + 1, nullptr, codes);
  pack_codes(4, codes, grouped + 1, 32);
}
bool join_mxfp4(const std::byte* grouped, uint8_t* block) {
  block[0] = std::to_integer<uint8_t>(grouped[0]);
  uint8_t codes[32];
  unpack_codes(4, grouped + 1, codes, 32);
  pack_halves<4>(codes, block + 1, nullptr);
  return true;
}

// Four scales, then per 16 values 8 bytes of nibbles (k, k + 8). GGUF reads scales without a sign.
void split_nvfp4(const uint8_t* block, std::byte* grouped) {
  for (int g = 0; g < 4; ++g, grouped += 9) {
    const uint8_t* nibbles = block + 4 + 8 * g;
    uint8_t codes[16];
    for (int k = 0; k < 8; ++k)
      codes[k] = nibbles[k] & 15, codes[k + 8] = static_cast<uint8_t>(nibbles[k] >> 4);
    grouped[0] = static_cast<std::byte>(block[g]);
    pack_codes(4, codes, grouped + 1, 16);
  }
}
bool join_nvfp4(const std::byte* grouped, uint8_t* block) {
  bool positive = true;
  for (int g = 0; g < 4; ++g, grouped += 9) {
    uint8_t* nibbles = block + 4 + 8 * g;
    uint8_t codes[16];
    unpack_codes(4, grouped + 1, codes, 16);
    for (int k = 0; k < 8; ++k) nibbles[k] = static_cast<uint8_t>(codes[k] | (codes[k + 8] << 4));
    block[g] = std::to_integer<uint8_t>(grouped[0]);
    positive = positive && block[g] < 0x7F;
  }
  return positive;
}

constexpr GroupedLayout simple(uint8_t bits, uint16_t group, ZeroKind zero) {
  return {CodeKind::kInt, bits, group, ScaleType::kF16, zero};
}
constexpr Equivalent kEquivalents[] = {
    {FormatId::kQ4_0, simple(4, 32, ZeroKind::kMiddle), split_simple<4, 2>, join_simple<4, 2>},
    {FormatId::kQ4_1, simple(4, 32, ZeroKind::kBias), split_simple<4, 4>, join_simple<4, 4>},
    {FormatId::kQ5_0, simple(5, 32, ZeroKind::kMiddle), split_simple<5, 2>, join_simple<5, 2>},
    {FormatId::kQ5_1, simple(5, 32, ZeroKind::kBias), split_simple<5, 4>, join_simple<5, 4>},
    {FormatId::kQ8_0, simple(8, 32, ZeroKind::kMiddle), split_q8_0, join_q8_0},
    {FormatId::kQ2_0, simple(2, 64, ZeroKind::kZeroPoint), split_q2_0, join_q2_0},
    {FormatId::kMXFP4, {CodeKind::kE2M1, 4, 32, ScaleType::kE8M0, ZeroKind::kNone}, split_mxfp4, join_mxfp4},
    {FormatId::kNVFP4, {CodeKind::kE2M1, 4, 16, ScaleType::kE4M3, ZeroKind::kNone}, split_nvfp4, join_nvfp4},
};

const Equivalent* find_equivalent(FormatId id) {
  const auto found = std::ranges::find(kEquivalents, id, &Equivalent::id);
  return found == std::end(kEquivalents) ? nullptr : found;
}

// Numbers of one row: codes, and per group a scale and a zero point or bias.
struct Row {
  std::vector<uint8_t> codes;
  std::vector<float> scales, biases;
  std::vector<uint8_t> zeros;
};

uint32_t bits_of(float value) {
  return std::bit_cast<uint32_t>(value);
}
// s * q has no more than 24 significant bits for any q of 8: products and sums of codes are exact in F32.
bool products_are_exact(float s) {
  return (bits_of(s) & 0xFF) == 0;
}

class Converter {
 public:
  Converter(FormatId from, FormatId to, uint64_t columns)
      : from_(layout_of(from)),
        to_(layout_of(to)),
        split_(find_equivalent(from)),
        join_(find_equivalent(to)),
        columns_(columns) {
    row_.codes.resize(columns);
    row_.scales.resize(columns / from_.group);
    row_.biases.resize(row_.scales.size());
    row_.zeros.resize(row_.scales.size());
    if (split_) grouped_in_.resize(row_.scales.size() * from_.block_bytes());
    if (join_) grouped_out_.resize(columns / to_.group * to_.block_bytes());
  }

  // False with *reason when a number cannot be held.
  bool convert(const std::byte* src, std::byte* dst, std::string& reason) {
    if (split_) {
      const QuantFormat& f = format(split_->id);
      const uint64_t per = f.block / from_.group * from_.block_bytes();
      for (uint64_t b = 0; b < columns_ / f.block; ++b)
        split_->split(reinterpret_cast<const uint8_t*>(src) + b * f.block_bytes,
                      grouped_in_.data() + b * per);
      src = grouped_in_.data();
    }
    load_row(src);
    std::byte* out = join_ ? grouped_out_.data() : dst;
    if (!store_row(out, reason)) return false;
    if (join_) {
      const QuantFormat& f = format(join_->id);
      const uint64_t per = f.block / to_.group * to_.block_bytes();
      for (uint64_t b = 0; b < columns_ / f.block; ++b)
        if (!join_->join(out + b * per, reinterpret_cast<uint8_t*>(dst) + b * f.block_bytes)) {
          reason = fmt::format("{} has no such scale or zero point", f.name);
          return false;
        }
    }
    return true;
  }

 private:
  static GroupedLayout layout_of(FormatId id) { return *equivalent_layout(id); }

  void load_row(const std::byte* src) {
    const int middle = 1 << (from_.bits - 1);
    for (size_t g = 0; g < row_.scales.size(); ++g, src += from_.block_bytes()) {
      row_.scales[g] = load_scale(from_.scale, src);
      const std::byte* second = src + from_.scale_bytes();
      if (from_.zero == ZeroKind::kBias) row_.biases[g] = load_scale(from_.scale, second);
      row_.zeros[g] =
          static_cast<uint8_t>(from_.zero == ZeroKind::kZeroPoint ? std::to_integer<int>(*second) : middle);
      unpack_codes(from_.bits, src + from_.code_offset(), row_.codes.data() + g * from_.group, from_.group);
    }
  }

  bool same_group(size_t a, size_t b) const {
    return bits_of(row_.scales[a]) == bits_of(row_.scales[b]) &&
           (from_.zero == ZeroKind::kBias ? bits_of(row_.biases[a]) == bits_of(row_.biases[b])
                                          : row_.zeros[a] == row_.zeros[b]);
  }

  bool store_number(float value, std::byte* dst, std::string& reason) const {
    store_scale(to_.scale, value, dst);
    if (std::isfinite(value) && bits_of(load_scale(to_.scale, dst)) == bits_of(value)) return true;
    reason = fmt::format("a scale or bias of {} has no exact value in the target's type", value);
    return false;
  }

  // A constant group (every code 0) is its bias; MLX gives it the scale -1e-7, which 16-bit scales may lack.
  bool unused_scale(size_t g, size_t first) {
    if (from_.zero != ZeroKind::kBias || to_.zero != ZeroKind::kBias) return false;
    std::byte stored[4];
    std::string unused;
    if (store_number(row_.scales[g], stored, unused) || !std::isfinite(row_.scales[g])) return false;
    const auto codes = row_.codes.begin() + static_cast<std::ptrdiff_t>(first);
    return std::all_of(codes, codes + to_.group, [](uint8_t code) { return code == 0; });
  }

  // The zero point of a group in the target; false where its bias is none.
  bool find_zero(size_t g, int& zero, std::string& reason) const {
    const int middle = 1 << (to_.bits - 1);
    zero = row_.zeros[g];
    if (from_.zero != ZeroKind::kBias) return true;
    const float s = row_.scales[g], bias = row_.biases[g];
    zero = s == 0 || to_.zero == ZeroKind::kMiddle ? middle : clamp_to_int(std::nearbyint(-bias / s), 0, 255);
    if (products_are_exact(s) && bits_of(-static_cast<float>(zero) * s) == bits_of(bias)) return true;
    reason = fmt::format("a bias of {} is no {} of the scale {}", bias,
                         to_.zero == ZeroKind::kMiddle ? "middle" : "multiple", s);
    return false;
  }

  // Codes and zero point may move together: the least move that brings all of them into the target's range.
  bool find_shift(size_t first, int zero, int& shift, std::string& reason) const {
    const auto codes = row_.codes.begin() + static_cast<std::ptrdiff_t>(first);
    const auto [low, high] = std::minmax_element(codes, codes + to_.group);
    const int top = (1 << to_.bits) - 1;
    const int least = std::max(-int{*low}, -zero), most = std::min(top - int{*high}, top - zero);
    if (least > most) {
      reason = fmt::format("codes {} to {} around {} do not fit {} bits", *low, *high, zero, to_.bits);
      return false;
    }
    shift = std::clamp(0, least, most);
    return true;
  }

  bool store_codes(size_t first, int shift, std::byte* dst, std::string& reason) {
    uint8_t moved[128];
    const int top = (1 << to_.bits) - 1;
    for (size_t i = 0; i < to_.group; ++i) {
      const int code = row_.codes[first + i] + shift;
      if (code < 0 || code > top) {
        reason = fmt::format("a code does not fit {} bits", to_.bits);
        return false;
      }
      moved[i] = static_cast<uint8_t>(code);
    }
    pack_codes(to_.bits, moved, dst, to_.group);
    return true;
  }

  bool store_row(std::byte* dst, std::string& reason) {
    for (size_t c = 0; c < columns_; c += to_.group, dst += to_.block_bytes()) {
      const size_t g = c / from_.group, last = (c + to_.group - 1) / from_.group;
      for (size_t other = g + 1; other <= last; ++other)
        if (!same_group(g, other)) {
          reason = fmt::format("groups of {} have different scales, the target's are of {}", from_.group,
                               to_.group);
          return false;
        }
      if (unused_scale(g, c))
        store_scale(to_.scale, 0, dst);
      else if (!store_number(row_.scales[g], dst, reason))
        return false;
      std::byte* second = dst + to_.scale_bytes();
      int shift = 0;
      if (to_.zero == ZeroKind::kBias) {
        float bias = row_.biases[g];
        if (from_.zero != ZeroKind::kBias) {
          if (!products_are_exact(row_.scales[g])) {
            reason = fmt::format("a scale of {} has too many bits for exact products", row_.scales[g]);
            return false;
          }
          bias = -static_cast<float>(row_.zeros[g]) * row_.scales[g];
        }
        if (!store_number(bias, second, reason)) return false;
      } else if (to_.zero != ZeroKind::kNone) {
        int zero = 0;
        if (!find_zero(g, zero, reason)) return false;
        if (to_.zero == ZeroKind::kMiddle) {
          shift = (1 << (to_.bits - 1)) - zero;
        } else {
          if (!find_shift(c, zero, shift, reason)) return false;
          *second = static_cast<std::byte>(zero + shift);
        }
      }
      if (!store_codes(c, shift, dst + to_.code_offset(), reason)) return false;
    }
    return true;
  }

  GroupedLayout from_, to_;
  const Equivalent *split_, *join_;
  uint64_t columns_;
  Row row_;
  std::vector<std::byte> grouped_in_, grouped_out_;
};

constexpr const char* kContainerNames[] = {"GGUF", "MLX", "compressed-tensors", "GPTQ"};

bool carries_layout(Container container, const GroupedLayout& l) {
  const bool integer = l.code == CodeKind::kInt;
  const bool mx = l.scale == ScaleType::kE8M0 && l.group == 32 &&
                  (l.code == CodeKind::kE2M1 || l.code == CodeKind::kE4M3);
  const bool nv = l.scale == ScaleType::kE4M3;
  switch (container) {
    case Container::kGguf:
      return false;
    case Container::kMlx:  // 1 bit only since version 0.32
      return integer ? l.zero == ZeroKind::kBias && l.group >= 32 && l.bits >= 2 && l.bits != 7 : mx || nv;
    case Container::kCompressedTensors:
      return integer ? l.zero != ZeroKind::kBias && l.bits >= 2
                     : mx || nv || (l.code == CodeKind::kE4M3 && l.scale != ScaleType::kE8M0);
    case Container::kGptq:
      return integer && l.zero != ZeroKind::kBias && l.group >= 32 && l.scale != ScaleType::kF32 &&
             (l.bits == 2 || l.bits == 3 || l.bits == 4 || l.bits == 8);
  }
  return false;
}

// What the container carries with the source's kind of codes: fewest bits first, then the source's own scale
// type, symmetric before zero points.
std::vector<FormatId> candidates(const GroupedLayout& from, Container container, uint64_t columns) {
  std::vector<FormatId> found;
  const auto consider = [&](const QuantFormat& f) {
    const auto layout = equivalent_layout(f.id);
    if (layout && layout->code == from.code && carries(container, f.id) && divides(f.id, columns))
      found.push_back(f.id);
  };
  for (const QuantFormat& f : all_formats()) consider(f);
  for (const QuantFormat& f : grouped_formats()) consider(f);
  std::ranges::stable_sort(found, {}, [&](FormatId id) {
    const GroupedLayout l = *equivalent_layout(id);
    return std::tuple(format(id).bits_per_weight(), l.scale != from.scale, l.zero == ZeroKind::kZeroPoint);
  });
  return found;
}

}  // namespace

const char* container_name(Container container) {
  return kContainerNames[static_cast<size_t>(container)];
}

std::optional<GroupedLayout> equivalent_layout(FormatId id) {
  if (const GroupedLayout* own = grouped_layout(id)) return *own;
  if (const Equivalent* named = find_equivalent(id)) return named->layout;
  return std::nullopt;
}

bool carries(Container container, FormatId id) {
  if (container == Container::kGguf) return format(id).gguf_type >= 0 && !format(id).activation_only;
  const GroupedLayout* layout = grouped_layout(id);
  return layout && carries_layout(container, *layout);
}

bool transcode(const TensorView& view, FormatId target, std::span<std::byte> dst, std::string* reason) {
  std::string unused;
  std::string& why = reason ? *reason : unused;
  const auto columns = static_cast<uint64_t>(view.row_length());
  if (view.format == target) {
    if (!dst.empty()) read_all(view, dst);
    return true;
  }
  const auto from = equivalent_layout(view.format), to = equivalent_layout(target);
  if (!from || !to || from->code != to->code) {
    why =
        fmt::format("{} and {} have different kinds of codes", format(view.format).name, format(target).name);
    return false;
  }
  if (!divides(target, columns)) {
    why = fmt::format("rows of {} do not divide into blocks of {}", columns, format(target).name);
    return false;
  }
  const uint64_t in_bytes = format_bytes(view.format, columns), out_bytes = format_bytes(target, columns),
                 rows = view.rows();
  HONE_CHECK(dst.empty() || dst.size() == rows * out_bytes);
  Converter converter(view.format, target, columns);
  std::vector<std::byte> scratch(dst.empty() ? out_bytes : 0);
  const uint64_t step = std::clamp<uint64_t>((uint64_t{1} << 20) / std::max<uint64_t>(in_bytes, 1), 1, 256);
  std::vector<std::byte> stored(std::min(step, std::max<uint64_t>(rows, 1)) * in_bytes);
  for (uint64_t row = 0, now = 0; row < rows; row += now) {
    now = row == 0 ? 1 : std::min(step, rows - row);  // one row rules out most
    read_rows(view, row, now, std::span(stored).first(now * in_bytes));
    for (uint64_t i = 0; i < now; ++i)
      if (!converter.convert(stored.data() + i * in_bytes,
                             dst.empty() ? scratch.data() : dst.data() + (row + i) * out_bytes, why))
        return false;
  }
  return true;
}

std::optional<FormatId> exact_target(const TensorView& view, Container container, std::string* reason) {
  if (carries(container, view.format)) return view.format;
  const auto from = equivalent_layout(view.format);
  std::string why = fmt::format("{} has no counterpart there", format(view.format).name);
  if (from)
    for (const FormatId id : candidates(*from, container, static_cast<uint64_t>(view.row_length())))
      if (transcode(view, id, {}, &why)) return id;
  if (reason) *reason = why;
  return std::nullopt;
}

}  // namespace hone::tensor
