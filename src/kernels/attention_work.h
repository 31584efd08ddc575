// The work of one attention: units (batch row, key head, block of query rows), each run over a range of keys.
#pragma once

#include "kernels/attention.h"
#include "kernels/isa_table.h"

namespace hone::kernels {

struct AttentionUnit {
  size_t batch, kv_head, first_row, rows;  // rows of (token, head in group), token-major
  int64_t low, high;                       // keys that any of its rows sees
};

// attention() by the kernels of one instruction set.
void attention_by(const IsaTable& table, const AttentionArgs& args, ThreadPool& pool,
                  std::span<std::byte> scratch);
size_t attention_scratch_bytes(const IsaTable& table, const AttentionArgs& args, int threads);

class AttentionWork {
 public:
  enum class Way {
    kRows,   // few rows meet keys and values in storage order
    kCodes,  // many rows meet tiles of 16-bit codes
    kTiles   // tiles of F32
  };
  static Way way_of(const AttentionArgs& args, const IsaTable& table);
  AttentionWork(const AttentionArgs& args, const IsaTable& table, Way way);

  size_t units() const { return args_.batch * args_.kv_heads * blocks_; }
  AttentionUnit unit(size_t index) const;

  // What a run leaves: sums [rows][padded], maximum and total per row.
  struct Part {
    float *out, *maximum, *total;
  };
  size_t part_floats() const { return block_ * (padded_ + 2); }
  Part part_at(float* place) const {
    return {place, place + block_ * padded_, place + block_ * padded_ + block_};
  }
  // Workspace of one worker; its own part lies at the front.
  size_t worker_floats() const { return space_.total; }

  // Attends the unit's rows to keys [low, high).
  void run(const AttentionUnit& u, int64_t low, int64_t high, float* work, const Part& part) const;
  // Folds `other` into `part`.
  void merge(const AttentionUnit& u, const Part& part, const Part& other) const;
  void finish(const AttentionUnit& u, const Part& part) const;

 private:
  struct Workspace {
    size_t q, q_scales, rows, codes, k_panel, k_scales, v, v_panel, v_scales, scores, weights, spans,
        total;  // offsets in floats
  };
  Workspace tile_workspace() const;
  Workspace code_workspace() const;
  Workspace row_workspace() const;
  void run_rows(const AttentionUnit& u, int64_t low, int64_t high, float* work, const Part& part) const;
  void run_codes(const AttentionUnit& u, int64_t low, int64_t high, float* work, const Part& part) const;
  void run_tiles(const AttentionUnit& u, int64_t low, int64_t high, float* work, const Part& part) const;
  // What query rows [first, first + rows) see of `count` keys from `start` on, in `spans`; returns the end of
  // what any of them sees, 0 for nothing.
  int64_t visible(const AttentionUnit& u, size_t first, size_t rows, int64_t start, int64_t count,
                  int64_t* spans) const;
  void pack_queries(const AttentionUnit& u, size_t first, size_t rows, float* packed) const;
  const float* query(const AttentionUnit& u, size_t row) const;
  int64_t position(const AttentionUnit& u, size_t row) const {
    return args_.past[u.batch] + static_cast<int64_t>((u.first_row + row) / group_);
  }

  const AttentionArgs& args_;
  const IsaTable& table_;
  Way way_;
  size_t group_, padded_, block_ = 0, block_rows_ = 0, blocks_ = 0;
  size_t span_ = 0;  // keys that run_rows takes at a time
  Workspace space_;
};

}  // namespace hone::kernels
