// The two row orders of q and k. Hugging Face rotates halves (i, i + D/2), GGUF of the llama kind adjacent pairs
// (2i, 2i + 1): GGUF row 2i + p of a head is Hugging Face row p * D/2 + i.
#include <cstring>

#include "base/error.h"
#include "models/export.h"

namespace hone::models {

void permute_rows(std::span<const std::byte> src, std::span<std::byte> dst, int64_t rows, int64_t heads, bool to_gguf) {
  HONE_CHECK(rows > 0 && heads > 0 && rows % heads == 0 && (rows / heads) % 2 == 0);
  HONE_CHECK(src.size() == dst.size() && src.size() % static_cast<size_t>(rows) == 0);
  const size_t row_bytes = src.size() / static_cast<size_t>(rows);
  const int64_t head_rows = rows / heads, half = head_rows / 2;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t head = row / head_rows * head_rows, within = row % head_rows;
    const int64_t other = head + within % 2 * half + within / 2;  // in Hugging Face order
    const int64_t from = to_gguf ? other : row, to = to_gguf ? row : other;
    std::memcpy(dst.data() + static_cast<size_t>(to) * row_bytes, src.data() + static_cast<size_t>(from) * row_bytes,
                row_bytes);
  }
}

std::vector<float> gguf_order_f32(const Model& model, const TensorInfo& info) {
  std::vector<float> values = tensor::decode(model.source(info).view);
  if (model.checkpoint->kind == tensor::CheckpointKind::kGguf) return values;
  if (info.gguf_offset != 0)
    for (float& value : values) value += info.gguf_offset;
  if (info.permuted_heads == 0) return values;
  std::vector<float> ordered(values.size());
  permute_rows(std::as_bytes(std::span<const float>(values)), std::as_writable_bytes(std::span<float>(ordered)),
               info.shape[0], info.permuted_heads, true);
  return ordered;
}

}  // namespace hone::models
