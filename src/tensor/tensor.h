// Shapes, views of tensors in their storage format, and tensors that own their bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tensor/quant_format.h"

namespace hone::tensor {

// Row-major, outermost first: a linear layer's weight is [out, in]. (GGUF lists sizes the other way round.)
using Shape = std::vector<int64_t>;

// Product of sizes; Error(kBadInput) on a negative size or overflow.
uint64_t element_count(const Shape& shape);
std::string shape_text(const Shape& shape);  // "[576, 1536]"

// Rows made on demand: a tensor whose file keeps it in another arrangement (codes, scales and zero points in
// separate tensors, columns permuted, a sum with an adapter). Reads may come from several threads.
class RowSource {
 public:
  virtual ~RowSource() = default;
  // Rows [begin, begin + count) in the format and with the row length of the view; dst holds exactly their bytes.
  virtual void read(uint64_t begin, uint64_t count, std::span<std::byte> dst) const = 0;
};

// A const view; the bytes or the source of rows belong to someone else (often a memory map).
struct TensorView {
  FormatId format = FormatId::kF32;
  Shape shape;
  std::span<const std::byte> bytes;     // empty when the rows come from a source
  const RowSource* source = nullptr;

  int64_t row_length() const { return shape.empty() ? 1 : shape.back(); }
  uint64_t rows() const { return row_length() == 0 ? 0 : element_count(shape) / static_cast<uint64_t>(row_length()); }
};

// Bytes in the view's format, whether they lie in memory or come from a source.
uint64_t view_bytes(const TensorView& view);
// Stored rows [begin, begin + count), dst exactly their size; rows must be whole blocks.
void read_rows(const TensorView& view, uint64_t begin, uint64_t count, std::span<std::byte> dst);
// The whole tensor; dst is view_bytes() long.
void read_all(const TensorView& view, std::span<std::byte> dst);
// Decodes rows [begin, begin + count) to F32. dst holds count * row_length floats.
void decode_rows(const TensorView& view, uint64_t begin, uint64_t count, float* dst);
std::vector<float> decode(const TensorView& view);

// A tensor with its own bytes (64-byte aligned).
class Tensor {
 public:
  Tensor() = default;
  Tensor(FormatId format, Shape shape);  // zero-filled
  TensorView view() const { return {format_, shape_, {data_.get(), size_}}; }
  std::span<std::byte> bytes() { return {data_.get(), size_}; }
  float* f32() { return reinterpret_cast<float*>(data_.get()); }
  const Shape& shape() const { return shape_; }
  FormatId format() const { return format_; }

 private:
  struct Free { void operator()(std::byte* p) const; };
  FormatId format_ = FormatId::kF32;
  Shape shape_;
  std::unique_ptr<std::byte[], Free> data_;
  size_t size_ = 0;
};

}  // namespace hone::tensor
