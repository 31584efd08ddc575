#include "kernels/attention_work.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace hone::kernels {
namespace {

constexpr size_t kBlockTiles = 8;        // register tiles of query rows that share a decoded key tile
constexpr size_t kCodeBlock = 192;       // query rows that share a tile of codes
constexpr size_t kManyRows = 1024;       // of a key head: from here on blocks may be large
constexpr size_t kFewRows = 16;          // up to here stored rows are read as they are
constexpr size_t kSpanBytes = 16 << 10;  // of keys between two looks at their values
constexpr int64_t kEndless = std::numeric_limits<int64_t>::max() / 2;
constexpr float kLog2E = 1.44269504f;
constexpr float kNothing = -std::numeric_limits<float>::infinity();

size_t round16(size_t n) {
  return (n + 15) / 16 * 16;
}
size_t round32(size_t n) {
  return (n + 31) / 32 * 32;
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

AttentionWork::Way AttentionWork::way_of(const AttentionArgs& args, const IsaTable& table) {
  const auto keys = static_cast<size_t>(args.keys.format), values = static_cast<size_t>(args.values.format);
  const AttentionTable* t = table.attention;
  if (args.queries * args.heads <= kFewRows * args.kv_heads && t && keys < tensor::kNamedCount &&
      values < tensor::kNamedCount && t->scores[keys] && t->sums[values])
    return Way::kRows;
  const bool plain =
      args.keys.format == tensor::FormatId::kF32 && args.values.format == tensor::FormatId::kF32;
  return t && t->code_rows > 0 && !args.exact && !plain ? Way::kCodes : Way::kTiles;
}

AttentionWork::AttentionWork(const AttentionArgs& args, const IsaTable& table, Way way)
    : args_(args),
      table_(table),
      way_(way),
      group_(args.heads / std::max<size_t>(1, args.kv_heads)),
      padded_(round16(args.value_width)) {
  const size_t rows = args.queries * group_;
  if (way == Way::kRows) {
    block_ = block_rows_ = std::clamp<size_t>(rows, 1, kFewRows);
    const size_t keys = kSpanBytes / std::max<size_t>(1, args.keys.row_stride);
    span_ = std::clamp<size_t>(keys / 16 * 16, 32, 256);
    space_ = row_workspace();
  } else {
    // Whole tokens per block, so that a block's rows see about the same keys.
    const size_t tile = way == Way::kCodes ? kCodeBlock : kBlockTiles * table.tile_rows;
    block_ = rows < kManyRows ? tile / 2 : tile;
    block_rows_ = std::min(block_, std::max<size_t>(1, block_ / group_) * group_);
    space_ = way == Way::kCodes ? code_workspace() : tile_workspace();
  }
  blocks_ = (rows + block_rows_ - 1) / block_rows_;
}

AttentionWork::Workspace AttentionWork::code_workspace() const {
  Workspace w{};
  Layout at;
  const size_t words = round32(args_.key_width), tile = table_.attention->code_rows;
  at.take(part_floats());
  w.q = at.take(block_ * words / 2);
  w.q_scales = at.take(block_);
  w.rows = at.take(kKeyTile * words);
  w.codes = at.take(kKeyTile * words / 2);
  w.k_panel = at.take(kKeyTile * words / 2);
  w.k_scales = at.take(kKeyTile);
  w.v = at.take(kKeyTile * padded_);
  w.v_panel = at.take(kKeyTile * padded_ / 2);
  w.v_scales = at.take(padded_);
  w.scores = at.take(tile * kKeyTile);
  w.weights = at.take(tile * kKeyTile / 2);
  w.spans = at.take(4 * tile);  // two int64 per row
  w.total = at.total();
  return w;
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
  w.spans = at.take(8 * table_.tile_rows);  // four int64 per row
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
  if (way_ == Way::kRows) return run_rows(u, low, high, work, part);
  if (way_ == Way::kCodes) return run_codes(u, low, high, work, part);
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

int64_t AttentionWork::visible(const AttentionUnit& u, size_t first, size_t rows, int64_t start,
                               int64_t count, int64_t* spans) const {
  int64_t seen = 0;
  for (size_t i = 0; i < rows; ++i) {
    const int64_t here = position(u, first + i) + 1 - start;
    const int64_t low = args_.window > 0 ? here - args_.window : 0, high = args_.causal ? here : kEndless;
    spans[2 * i] = low, spans[2 * i + 1] = high;
    if (low < count) seen = std::max(seen, std::min(high, count));
  }
  return seen;
}

// Scores are logarithms to base 2 as in run_rows.
void AttentionWork::run_codes(const AttentionUnit& u, int64_t low, int64_t high, float* work,
                              const Part& part) const {
  const AttentionTable& t = *table_.attention;
  const size_t words = round32(args_.key_width);
  // So that the sum of all products fits 31 bits.
  const float top = std::floor(std::sqrt(2147483000.0f / static_cast<float>(words)));
  const float scale = args_.softcap > 0 ? args_.scale : args_.scale * kLog2E;
  const auto codes_at = [&](size_t place) { return reinterpret_cast<int16_t*>(work + place); };
  float *rows = work + space_.rows, *q_scales = work + space_.q_scales;
  for (size_t r = 0; r < u.rows; ++r) {
    const float* from = query(u, r);
    for (size_t d = 0; d < args_.key_width; ++d) rows[d] = from[d] * scale;
    std::fill(rows + args_.key_width, rows + words, 0.0f);
    q_scales[r] = t.row_codes(rows, words, top, codes_at(space_.q) + r * words);
  }
  auto* spans = reinterpret_cast<int64_t*>(work + space_.spans);
  for (int64_t start = low; start < high; start += static_cast<int64_t>(kKeyTile)) {
    const size_t keys = static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(kKeyTile), high - start));
    decode_tile(table_, args_.keys, row_of(args_.keys, u, start), keys, args_.key_width, words, rows);
    t.key_panel(rows, words, keys, top, codes_at(space_.codes), codes_at(space_.k_panel),
                work + space_.k_scales);
    decode_tile(table_, args_.values, row_of(args_.values, u, start), keys, args_.value_width, padded_,
                work + space_.v);
    t.value_panel(work + space_.v, keys, padded_, codes_at(space_.v_panel), work + space_.v_scales);
    for (size_t r = 0; r < u.rows; r += t.code_rows) {
      const size_t count = std::min(t.code_rows, u.rows - r);
      const int64_t seen = visible(u, r, count, start, static_cast<int64_t>(keys), spans);
      if (seen == 0) continue;
      t.attend_codes({codes_at(space_.q) + r * words, q_scales + r, count, words, padded_,
                      static_cast<size_t>(seen), codes_at(space_.k_panel), work + space_.k_scales,
                      codes_at(space_.v_panel), work + space_.v_scales, spans, args_.softcap,
                      work + space_.scores, codes_at(space_.weights), part.maximum + r, part.total + r,
                      part.out + r * padded_});
    }
  }
}

void AttentionWork::run_tiles(const AttentionUnit& u, int64_t low, int64_t high, float* work,
                              const Part& part) const {
  const IsaTable& t = table_;
  float* q = work + space_.q;
  for (size_t r = 0; r < u.rows; r += t.tile_rows)
    pack_queries(u, r, std::min(t.tile_rows, u.rows - r), q + r * args_.key_width);
  auto* first = reinterpret_cast<int64_t*>(work + space_.spans);
  int64_t *last = first + t.tile_rows, *spans = last + t.tile_rows;
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
      const int64_t seen = visible(u, r, rows, start, static_cast<int64_t>(keys), spans);
      if (seen == 0) continue;
      for (size_t i = 0; i < rows; ++i) first[i] = spans[2 * i], last[i] = spans[2 * i + 1];
      t.attend({q + r * args_.key_width, rows, args_.key_width, padded_, static_cast<size_t>(seen),
                work + space_.k_panel, work + space_.v, first, last, args_.softcap, work + space_.scores,
                part.maximum + r, part.total + r, part.out + r * padded_});
    }
  }
}

void AttentionWork::merge(const AttentionUnit& u, const Part& part, const Part& other) const {
  for (size_t r = 0; r < u.rows; ++r) {
    if (other.total[r] == 0) continue;
    const auto power = [&](float x) { return way_ == Way::kTiles ? std::exp(x) : std::exp2(x); };
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
