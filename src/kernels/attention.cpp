// Spreads the units of attention over threads; where they are few, splits their keys too.
#include "kernels/attention.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "kernels/attention_work.h"

namespace hone::kernels {
namespace {

constexpr size_t kSerialWork = 64 << 10;  // products below which one thread does it all
constexpr size_t kPartWork = 32 << 10;    // products that a part is worth

// Parts of each unit, a few for each thread, and all together a multiple of the threads where that is near.
// Units times parts stay below 8 * threads.
size_t parts_of(size_t units, size_t threads, int64_t longest, size_t products) {
  if (threads == 1 || units >= 4 * threads) return 1;
  const size_t worth = std::min<size_t>(products / (units * kPartWork), static_cast<size_t>(longest) / 32);
  const size_t even = threads / std::gcd(units, threads);
  size_t parts = std::min((4 * threads + units - 1) / units, worth);
  const size_t up = (parts + even - 1) / even * even;
  if (up <= worth && units * up < 8 * threads)
    parts = up;
  else if (parts >= even)
    parts = parts / even * even;
  return std::max<size_t>(1, parts);
}

}  // namespace

// The same for all lengths, cache formats and numbers of queries up to those of `args`.
size_t attention_scratch_bytes(const IsaTable& table, const AttentionArgs& args, int threads) {
  const size_t workers = static_cast<size_t>(std::max(1, threads));
  size_t floats = 0;
  using Way = AttentionWork::Way;
  for (const Way way : {Way::kRows, Way::kCodes, Way::kTiles}) {
    if (way == Way::kCodes && !(table.attention && table.attention->code_rows > 0)) continue;
    const AttentionWork work(args, table, way);
    floats = std::max(floats, workers * (work.worker_floats() + 8 * work.part_floats()));
  }
  return floats * sizeof(float);
}

void attention_by(const IsaTable& table, const AttentionArgs& args, ThreadPool& pool,
                  std::span<std::byte> scratch) {
  const AttentionWork work(args, table, AttentionWork::way_of(args, table));
  const size_t units = work.units(), threads = static_cast<size_t>(pool.size());
  if (units == 0) return;
  int64_t longest = 0;
  size_t products = 0;
  for (size_t i = 0; i < units; ++i) {
    const AttentionUnit u = work.unit(i);
    longest = std::max(longest, u.high - u.low);
    products += static_cast<size_t>(u.high - u.low) * u.rows * (args.key_width + args.value_width);
  }
  const bool serial = threads == 1 || products < kSerialWork;
  const size_t parts = serial ? 1 : parts_of(units, threads, longest, products);
  HONE_CHECK(scratch.size() >=
             (threads * work.worker_floats() + (parts > 1 ? units * parts * work.part_floats() : 0)) *
                 sizeof(float));
  float* base = reinterpret_cast<float*>(scratch.data());
  float* parts_base = base + threads * work.worker_floats();
  const auto workspace_of = [&](int worker) {
    return base + static_cast<size_t>(worker) * work.worker_floats();
  };
  if (parts == 1) {
    const auto body = [&](size_t begin, size_t end, int worker) {
      float* space = workspace_of(worker);
      for (size_t i = begin; i < end; ++i) {
        const AttentionUnit u = work.unit(i);
        work.run(u, u.low, u.high, space, work.part_at(space));
        work.finish(u, work.part_at(space));
      }
    };
    if (serial) return body(0, units, 0);
    return pool.for_range(units, 1, body);
  }
  pool.for_range(units * parts, 1, [&](size_t begin, size_t end, int worker) {
    for (size_t i = begin; i < end; ++i) {
      const AttentionUnit u = work.unit(i / parts);
      const int64_t count = static_cast<int64_t>(parts), at = static_cast<int64_t>(i % parts);
      const int64_t low = u.low + (u.high - u.low) * at / count,
                    high = u.low + (u.high - u.low) * (at + 1) / count;
      work.run(u, low, high, workspace_of(worker), work.part_at(parts_base + i * work.part_floats()));
    }
  });
  for (size_t i = 0; i < units; ++i) {
    const AttentionUnit u = work.unit(i);
    const auto part = [&](size_t p) {
      return work.part_at(parts_base + (i * parts + p) * work.part_floats());
    };
    for (size_t p = 1; p < parts; ++p) work.merge(u, part(0), part(p));
    work.finish(u, part(0));
  }
}

size_t attention_scratch_bytes(const AttentionArgs& args, int threads) {
  return attention_scratch_bytes(active_table(), args, threads);
}
void attention(const AttentionArgs& args, ThreadPool& pool, std::span<std::byte> scratch) {
  attention_by(active_table(), args, pool, scratch);
}

void encode_row(tensor::FormatId format, const float* src, std::byte* dst, size_t n) {
  if (const EncodeFn f = active_table().encode[static_cast<size_t>(format)])
    return f(src, reinterpret_cast<uint8_t*>(dst), n);
  tensor::format(format).encode(src, dst, n);
}

}  // namespace hone::kernels
