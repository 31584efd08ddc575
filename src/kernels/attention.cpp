// Splits attention into units (batch row, key head, block of query rows), each over tiles of keys.
#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "kernels/isa_table.h"

namespace hone::kernels {
namespace {

constexpr size_t kBlockTiles = 4;  // register tiles of query rows that share a decoded key tile
constexpr size_t kMaxParts = 64;   // of one unit
constexpr size_t kSerialWork = 16 << 10;
constexpr int64_t kEndless = std::numeric_limits<int64_t>::max() / 2;

size_t round16(size_t n) {
  return (n + 15) / 16 * 16;
}

// Workspace of one worker, in floats.
struct Workspace {
  size_t q, rows, k_panel, v, scores, out, sums, spans, total;
};
Workspace workspace(const IsaTable& t, size_t key_width, size_t value_width) {
  const size_t block = kBlockTiles * t.tile_rows;
  Workspace w{};
  size_t at = 0;
  const auto take = [&](size_t floats) {
    const size_t here = at;
    at += round16(floats);
    return here;
  };
  w.q = take(block * key_width);
  w.rows = take(kKeyTile * (round16(key_width)));
  w.k_panel = take(round16(key_width) * kKeyTile);
  w.v = take(kKeyTile * round16(value_width));
  w.scores = take(t.tile_rows * kKeyTile);
  w.out = take(block * round16(value_width));
  w.sums = take(2 * block);
  w.spans = take(4 * block);  // two int64 per row
  w.total = at;
  return w;
}

struct Unit {
  size_t batch, kv_head, first_row, rows;  // rows of (token, head in group), token-major
  int64_t low, high;                       // keys that any of its rows sees
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

class Attention {
 public:
  Attention(const AttentionArgs& args, const IsaTable& table)
      : a(args),
        t(table),
        group(args.heads / args.kv_heads),
        block(kBlockTiles * table.tile_rows),
        padded(round16(args.value_width)),
        space(workspace(table, args.key_width, args.value_width)) {
    // Whole tokens per block, so that a block's rows see about the same keys.
    const size_t tokens = std::max<size_t>(1, block / group);
    block_rows = std::min(block, tokens * group);
    blocks = (args.queries * group + block_rows - 1) / block_rows;
  }

  size_t units() const { return a.batch * a.kv_heads * blocks; }
  size_t part_floats() const { return block * (padded + 2); }
  size_t worker_floats() const { return space.total; }

  Unit unit(size_t index) const {
    Unit u{};
    const size_t b = index % blocks;
    u.kv_head = index / blocks % a.kv_heads;
    u.batch = index / blocks / a.kv_heads;
    // The last blocks of a causal prefill are the longest: they go first.
    u.first_row = (blocks - 1 - b) * block_rows;
    u.rows = std::min(block_rows, a.queries * group - u.first_row);
    const int64_t past = a.past[u.batch];
    const int64_t end = past + static_cast<int64_t>(a.fresh);
    const int64_t first = past + static_cast<int64_t>(u.first_row / group);
    const int64_t last = past + static_cast<int64_t>((u.first_row + u.rows - 1) / group);
    u.high = a.causal ? std::min(end, last + 1) : end;
    u.low = a.window > 0 ? std::max<int64_t>(0, first - a.window + 1) : 0;
    u.low = std::min(u.low, u.high);
    return u;
  }

  // Attends the unit's rows to keys [low, high); leaves sums in out [rows][padded], maximum and total.
  void run(const Unit& u, int64_t low, int64_t high, float* work, float* out, float* maximum,
           float* total) const {
    float* q = work + space.q;
    for (size_t r = 0; r < u.rows; r += t.tile_rows)
      pack_queries(u, r, std::min(t.tile_rows, u.rows - r), q + r * a.key_width);
    std::fill(out, out + u.rows * padded, 0.0f);
    std::fill(maximum, maximum + u.rows, -std::numeric_limits<float>::infinity());
    std::fill(total, total + u.rows, 0.0f);
    auto* first = reinterpret_cast<int64_t*>(work + space.spans);
    int64_t* last = first + t.tile_rows;
    const size_t key_stride = round16(a.key_width);
    for (int64_t start = low; start < high; start += static_cast<int64_t>(kKeyTile)) {
      const size_t keys =
          static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(kKeyTile), high - start));
      decode_tile(t, a.keys, row(a.keys, u, start), keys, a.key_width, key_stride, work + space.rows);
      for (size_t j = 0; j < keys; j += t.tile_cols)
        t.transpose_panel(work + space.rows + j * key_stride, key_stride, std::min(t.tile_cols, keys - j),
                          a.key_width, work + space.k_panel + j, kKeyTile);
      decode_tile(t, a.values, row(a.values, u, start), keys, a.value_width, padded, work + space.v);
      for (size_t r = 0; r < u.rows; r += t.tile_rows) {
        const size_t rows = std::min(t.tile_rows, u.rows - r);
        for (size_t i = 0; i < rows; ++i) {
          const int64_t position = a.past[u.batch] + static_cast<int64_t>((u.first_row + r + i) / group);
          first[i] = a.window > 0 ? position - a.window + 1 - start : 0;
          last[i] = a.causal ? position + 1 - start : kEndless;
        }
        t.attend({q + r * a.key_width, rows, a.key_width, padded, keys, work + space.k_panel, work + space.v,
                  first, last, a.softcap, work + space.scores, maximum + r, total + r, out + r * padded});
      }
    }
  }

  void finish(const Unit& u, const float* out, const float* total) const {
    for (size_t r = 0; r < u.rows; ++r) {
      const size_t token = (u.first_row + r) / group, head = u.kv_head * group + (u.first_row + r) % group;
      float* to =
          a.out + u.batch * a.out_strides.batch + head * a.out_strides.head + token * a.out_strides.token;
      const float inverse = total[r] > 0 ? 1.0f / total[r] : 0.0f;  // a row that sees nothing gives zeros
      for (size_t d = 0; d < a.value_width; ++d) to[d] = out[r * padded + d] * inverse;
    }
  }

  // Folds part (out, maximum, total) into the first.
  void merge(const Unit& u, float* out, float* maximum, float* total, const float* part) const {
    const float *part_max = part + block * padded, *part_total = part_max + block;
    for (size_t r = 0; r < u.rows; ++r) {
      if (part_total[r] == 0) continue;
      const float top = std::max(maximum[r], part_max[r]);
      const float keep = total[r] > 0 ? std::exp(maximum[r] - top) : 0.0f, take = std::exp(part_max[r] - top);
      for (size_t d = 0; d < padded; ++d)
        out[r * padded + d] = out[r * padded + d] * keep + part[r * padded + d] * take;
      total[r] = total[r] * keep + part_total[r] * take;
      maximum[r] = top;
    }
  }

  const AttentionArgs& a;
  const IsaTable& t;
  size_t group, block, block_rows = 0, blocks = 0, padded;
  Workspace space;

 private:
  static const std::byte* row(const RowsView& view, const Unit& u, int64_t j) {
    return view.data + u.batch * view.batch_stride + u.kv_head * view.head_stride +
           static_cast<size_t>(j) * view.row_stride;
  }
  // packed[dim][rows], scaled.
  void pack_queries(const Unit& u, size_t first, size_t rows, float* packed) const {
    for (size_t i = 0; i < rows; ++i) {
      const size_t r = u.first_row + first + i, token = r / group, head = u.kv_head * group + r % group;
      const float* from =
          a.q + u.batch * a.q_strides.batch + head * a.q_strides.head + token * a.q_strides.token;
      for (size_t d = 0; d < a.key_width; ++d) packed[d * rows + i] = from[d] * a.scale;
    }
  }
};

}  // namespace

size_t attention_scratch_bytes(const AttentionArgs& args, int threads) {
  const Attention attention(args, active_table());
  const size_t workers = static_cast<size_t>(std::max(1, threads));
  // Keys are split only while units are fewer than twice the threads.
  const size_t parts = 2 * workers * std::min<size_t>(kMaxParts, 4 * workers);
  return (workers * attention.worker_floats() + parts * attention.part_floats()) * sizeof(float);
}

void attention(const AttentionArgs& args, ThreadPool& pool, std::span<std::byte> scratch) {
  const Attention attention(args, active_table());
  HONE_CHECK(scratch.size() >= attention_scratch_bytes(args, pool.size()));
  const size_t units = attention.units(), threads = static_cast<size_t>(pool.size());
  if (units == 0) return;
  float* work = reinterpret_cast<float*>(scratch.data());
  float* parts_base = work + threads * attention.worker_floats();
  const auto workspace_of = [&](int worker) {
    return work + static_cast<size_t>(worker) * attention.worker_floats();
  };

  int64_t longest = 0, keys = 0;
  for (size_t i = 0; i < units; ++i) {
    const Unit u = attention.unit(i);
    longest = std::max(longest, u.high - u.low);
    keys += (u.high - u.low) * static_cast<int64_t>(u.rows);
  }
  const bool serial = threads == 1 || static_cast<size_t>(keys) * args.key_width < kSerialWork;
  size_t parts = 1;
  if (!serial && units < 2 * threads)
    parts = std::min({static_cast<size_t>(longest) / (2 * kKeyTile), std::min<size_t>(kMaxParts, 4 * threads),
                      (4 * threads + units - 1) / units});
  if (parts <= 1) {
    const auto body = [&](size_t begin, size_t end, int worker) {
      float* w = workspace_of(worker);
      float *out = w + attention.space.out, *maximum = w + attention.space.sums,
            *total = maximum + attention.block;
      for (size_t i = begin; i < end; ++i) {
        const Unit u = attention.unit(i);
        attention.run(u, u.low, u.high, w, out, maximum, total);
        attention.finish(u, out, total);
      }
    };
    if (serial) return body(0, units, 0);
    return pool.for_range(units, 1, body);
  }
  pool.for_range(units * parts, 1, [&](size_t begin, size_t end, int worker) {
    for (size_t i = begin; i < end; ++i) {
      const Unit u = attention.unit(i / parts);
      const int64_t span = (u.high - u.low + static_cast<int64_t>(parts) - 1) / static_cast<int64_t>(parts);
      const int64_t low = std::min(u.high, u.low + span * static_cast<int64_t>(i % parts)),
                    high = std::min(u.high, low + span);
      float* out = parts_base + i * attention.part_floats();
      float *maximum = out + attention.block * attention.padded, *total = maximum + attention.block;
      attention.run(u, low, high, workspace_of(worker), out, maximum, total);
    }
  });
  for (size_t i = 0; i < units; ++i) {
    const Unit u = attention.unit(i);
    float* out = parts_base + i * parts * attention.part_floats();
    float *maximum = out + attention.block * attention.padded, *total = maximum + attention.block;
    for (size_t p = 1; p < parts; ++p)
      attention.merge(u, out, maximum, total, out + p * attention.part_floats());
    attention.finish(u, out, total);
  }
}

void encode_row(tensor::FormatId format, const float* src, std::byte* dst, size_t n) {
  if (const EncodeFn f = active_table().encode[static_cast<size_t>(format)])
    return f(src, reinterpret_cast<uint8_t*>(dst), n);
  tensor::format(format).encode(src, dst, n);
}

}  // namespace hone::kernels
