#include "kernels/attention_work.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace hone::kernels {
namespace {

constexpr size_t kBlockTiles = 4;        // register tiles of query rows that share a decoded key tile
constexpr size_t kFewRows = 16;          // up to here stored rows are read as they are
constexpr size_t kSpanBytes = 16 << 10;  // of keys between two looks at their values
constexpr int64_t kEndless = std::numeric_limits<int64_t>::max() / 2;
constexpr float kLog2E = 1.44269504f;
constexpr float kNothing = -std::numeric_limits<float>::infinity();

size_t round16(size_t n) {
  return (n + 15) / 16 * 16;
}

class Layout {
 public:
  size_t take(size_t floats) {
    const size_t here = at_;
    at_ += round16(floats);
    return here;
  }
  size_t total() const { return at_; }

 private:
  size_t at_ = 0;
};

// Decodes `count` rows of `width` elements to dst[count][stride], zero beyond width.
void decode_tile(const IsaTable& t, const RowsView& view, const std::byte* src, size_t count, size_t width,
                 size_t stride, float* dst) {
  const DecodeFn decode = t.decode[static_cast<size_t>(view.format)];
  const auto& f = tensor::format(view.format);
  if (stride == width && view.row_stride == width / f.block * f.block_bytes)
    return decode(reinterpret_cast<const uint8_t*>(src), dst, count * width);
  for (size_t j = 0; j < count; ++j) {
    decode(reinterpret_cast<const uint8_t*>(src + j * view.row_stride), dst + j * stride, width);
    std::fill(dst + j * stride + width, dst + (j + 1) * stride, 0.0f);
  }
}

const std::byte* row_of(const RowsView& view, const AttentionUnit& u, int64_t j) {
  return view.data + u.batch * view.batch_stride + u.kv_head * view.head_stride +
         static_cast<size_t>(j) * view.row_stride;
}

}  // namespace

bool AttentionWork::few_rows(const AttentionArgs& args, const IsaTable& table) {
  const auto keys = static_cast<size_t>(args.keys.format), values = static_cast<size_t>(args.values.format);
  return args.queries * args.heads <= kFewRows * args.kv_heads && table.attention &&
         keys < tensor::kNamedCount && values < tensor::kNamedCount && table.attention->scores[keys] &&
         table.attention->sums[values];
}

AttentionWork::AttentionWork(const AttentionArgs& args, const IsaTable& table, bool few)
    : args_(args),
      table_(table),
      few_(few),
      group_(args.heads / std::max<size_t>(1, args.kv_heads)),
      padded_(round16(args.value_width)) {
  const size_t rows = args.queries * group_;
  if (few) {
    block_ = block_rows_ = std::clamp<size_t>(rows, 1, kFewRows);
    const size_t keys = kSpanBytes / std::max<size_t>(1, args.keys.row_stride);
    span_ = std::clamp<size_t>(keys / 16 * 16, 32, 256);
    space_ = row_workspace();
  } else {
    // Whole tokens per block, so that a block's rows see about the same keys.
    block_ = kBlockTiles * table.tile_rows;
    block_rows_ = std::min(block_, std::max<size_t>(1, block_ / group_) * group_);
    space_ = tile_workspace();
  }
  blocks_ = (rows + block_rows_ - 1) / block_rows_;
}

AttentionWork::Workspace AttentionWork::row_workspace() const {
  Workspace w{};
  Layout at;
  at.take(part_floats());
  w.q = at.take(block_ * round16(args_.key_width));
  w.scores = at.take(block_ * span_);
  w.spans = at.take(block_);  // factors
  w.total = at.total();
  return w;
}

AttentionWork::Workspace AttentionWork::tile_workspace() const {
  Workspace w{};
  Layout at;
  at.take(part_floats());
  w.q = at.take(block_ * args_.key_width);
  w.rows = at.take(kKeyTile * round16(args_.key_width));
  w.k_panel = at.take(round16(args_.key_width) * kKeyTile);
  w.v = at.take(kKeyTile * padded_);
  w.scores = at.take(table_.tile_rows * kKeyTile);
  w.spans = at.take(4 * table_.tile_rows);  // two int64 per row
  w.total = at.total();
  return w;
}

AttentionUnit AttentionWork::unit(size_t index) const {
  AttentionUnit u{};
  const size_t b = index % blocks_;
  u.kv_head = index / blocks_ % args_.kv_heads;
  u.batch = index / blocks_ / args_.kv_heads;
  // The last blocks of a causal prefill are the longest: they go first.
  u.first_row = (blocks_ - 1 - b) * block_rows_;
  u.rows = std::min(block_rows_, args_.queries * group_ - u.first_row);
  const int64_t end = args_.past[u.batch] + static_cast<int64_t>(args_.fresh);
  u.high = args_.causal ? std::min(end, position(u, u.rows - 1) + 1) : end;
  u.low = args_.window > 0 ? std::max<int64_t>(0, position(u, 0) - args_.window + 1) : 0;
  u.low = std::min(u.low, u.high);
  return u;
}

void AttentionWork::run(const AttentionUnit& u, int64_t low, int64_t high, float* work,
                        const Part& part) const {
  std::fill(part.out, part.out + u.rows * padded_, 0.0f);
  std::fill(part.maximum, part.maximum + u.rows, kNothing);
  std::fill(part.total, part.total + u.rows, 0.0f);
  if (few_) return run_rows(u, low, high, work, part);
  run_tiles(u, low, high, work, part);
}

// Scores are logarithms to base 2 here, unless a softcap still has to bend them.
void AttentionWork::run_rows(const AttentionUnit& u, int64_t low, int64_t high, float* work,
                             const Part& part) const {
  const size_t ld_q = round16(args_.key_width);
  float *q = work + space_.q, *scores = work + space_.scores, *shrink = work + space_.spans;
  const float scale = args_.softcap > 0 ? args_.scale : args_.scale * kLog2E;
  for (size_t r = 0; r < u.rows; ++r) {
    const float* from = query(u, r);
    float* to = q + r * ld_q;
    for (size_t d = 0; d < args_.key_width; ++d) to[d] = from[d] * scale;
    std::fill(to + args_.key_width, to + ld_q, 0.0f);
  }
  const AttentionTable& t = *table_.attention;
  const KeyScoresFn score = t.scores[static_cast<size_t>(args_.keys.format)];
  const ValueSumsFn sum = t.sums[static_cast<size_t>(args_.values.format)];
  const auto bytes = [](const std::byte* p) { return reinterpret_cast<const uint8_t*>(p); };
  for (int64_t start = low; start < high; start += static_cast<int64_t>(span_)) {
    const size_t count = static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(span_), high - start));
    score({q, ld_q, u.rows, bytes(row_of(args_.keys, u, start)), args_.keys.row_stride, count,
           args_.key_width, scores, span_});
    for (size_t r = 0; r < u.rows; ++r) {
      const int64_t here = position(u, r) + 1 - start, keys = static_cast<int64_t>(count);
      const int64_t last = args_.causal ? std::clamp<int64_t>(here, 0, keys) : keys;
      const int64_t first = args_.window > 0 ? std::clamp<int64_t>(here - args_.window, 0, last) : 0;
      shrink[r] = t.weigh({scores + r * span_, count, static_cast<size_t>(first), static_cast<size_t>(last),
                           args_.softcap, part.maximum + r, part.total + r});
    }
    sum({scores, span_, u.rows, shrink, bytes(row_of(args_.values, u, start)), args_.values.row_stride, count,
         args_.value_width, part.out, padded_});
  }
}

void AttentionWork::run_tiles(const AttentionUnit& u, int64_t low, int64_t high, float* work,
                              const Part& part) const {
  const IsaTable& t = table_;
  float* q = work + space_.q;
  for (size_t r = 0; r < u.rows; r += t.tile_rows)
    pack_queries(u, r, std::min(t.tile_rows, u.rows - r), q + r * args_.key_width);
  auto* first = reinterpret_cast<int64_t*>(work + space_.spans);
  int64_t* last = first + t.tile_rows;
  const size_t key_stride = round16(args_.key_width);
  for (int64_t start = low; start < high; start += static_cast<int64_t>(kKeyTile)) {
    const size_t keys = static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(kKeyTile), high - start));
    decode_tile(t, args_.keys, row_of(args_.keys, u, start), keys, args_.key_width, key_stride,
                work + space_.rows);
    for (size_t j = 0; j < keys; j += t.tile_cols)
      t.transpose_panel(work + space_.rows + j * key_stride, key_stride, std::min(t.tile_cols, keys - j),
                        args_.key_width, work + space_.k_panel + j, kKeyTile);
    decode_tile(t, args_.values, row_of(args_.values, u, start), keys, args_.value_width, padded_,
                work + space_.v);
    for (size_t r = 0; r < u.rows; r += t.tile_rows) {
      const size_t rows = std::min(t.tile_rows, u.rows - r);
      for (size_t i = 0; i < rows; ++i) {
        const int64_t here = position(u, r + i) + 1 - start;
        first[i] = args_.window > 0 ? here - args_.window : 0;
        last[i] = args_.causal ? here : kEndless;
      }
      t.attend({q + r * args_.key_width, rows, args_.key_width, padded_, keys, work + space_.k_panel,
                work + space_.v, first, last, args_.softcap, work + space_.scores, part.maximum + r,
                part.total + r, part.out + r * padded_});
    }
  }
}

void AttentionWork::merge(const AttentionUnit& u, const Part& part, const Part& other) const {
  for (size_t r = 0; r < u.rows; ++r) {
    if (other.total[r] == 0) continue;
    const auto power = [&](float x) { return few_ ? std::exp2(x) : std::exp(x); };
    const float top = std::max(part.maximum[r], other.maximum[r]);
    const float keep = part.total[r] > 0 ? power(part.maximum[r] - top) : 0.0f,
                take = power(other.maximum[r] - top);
    for (size_t d = 0; d < padded_; ++d)
      part.out[r * padded_ + d] = part.out[r * padded_ + d] * keep + other.out[r * padded_ + d] * take;
    part.total[r] = part.total[r] * keep + other.total[r] * take;
    part.maximum[r] = top;
  }
}

void AttentionWork::finish(const AttentionUnit& u, const Part& part) const {
  for (size_t r = 0; r < u.rows; ++r) {
    const size_t row = u.first_row + r, token = row / group_, head = u.kv_head * group_ + row % group_;
    float* to = args_.out + u.batch * args_.out_strides.batch + head * args_.out_strides.head +
                token * args_.out_strides.token;
    // A row that sees nothing gives zeros.
    const float inverse = part.total[r] == 0 ? 0.0f : 1.0f / part.total[r];
    for (size_t d = 0; d < args_.value_width; ++d) to[d] = part.out[r * padded_ + d] * inverse;
  }
}

const float* AttentionWork::query(const AttentionUnit& u, size_t row) const {
  const size_t r = u.first_row + row, token = r / group_, head = u.kv_head * group_ + r % group_;
  return args_.q + u.batch * args_.q_strides.batch + head * args_.q_strides.head +
         token * args_.q_strides.token;
}

// packed[dim][rows], scaled.
void AttentionWork::pack_queries(const AttentionUnit& u, size_t first, size_t rows, float* packed) const {
  for (size_t i = 0; i < rows; ++i) {
    const float* from = query(u, first + i);
    for (size_t d = 0; d < args_.key_width; ++d) packed[d * rows + i] = from[d] * args_.scale;
  }
}

}  // namespace hone::kernels
