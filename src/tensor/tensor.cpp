#include "tensor/tensor.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/error.h"

namespace hone::tensor {

uint64_t element_count(const Shape& shape) {
  uint64_t count = 1;
  for (int64_t size : shape) {
    if (size < 0) fail(ErrorKind::kBadInput, "[tensor] shape {}: a size is negative", shape_text(shape));
    if (__builtin_mul_overflow(count, static_cast<uint64_t>(size), &count))
      fail(ErrorKind::kBadInput, "[tensor] shape {}: the number of elements overflows", shape_text(shape));
  }
  return count;
}

std::string shape_text(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

uint64_t view_bytes(const TensorView& view) {
  return view.source ? format_bytes(view.format, element_count(view.shape)) : view.bytes.size();
}

void read_rows(const TensorView& view, uint64_t begin, uint64_t count, std::span<std::byte> dst) {
  const uint64_t rows = view.rows();
  HONE_CHECK(begin <= rows && count <= rows - begin);
  const auto length = static_cast<uint64_t>(view.row_length());
  const uint64_t start = format_bytes(view.format, begin * length), size = format_bytes(view.format, count * length);
  HONE_CHECK(dst.size() == size);
  if (size == 0) return;
  if (view.source) return view.source->read(begin, count, dst);
  HONE_CHECK(start + size <= view.bytes.size());
  std::memcpy(dst.data(), view.bytes.data() + start, size);
}

void read_all(const TensorView& view, std::span<std::byte> dst) {
  HONE_CHECK(dst.size() == view_bytes(view));
  if (dst.empty()) return;
  if (view.source) return view.source->read(0, view.rows(), dst);
  std::memcpy(dst.data(), view.bytes.data(), dst.size());
}

namespace {

// A few megabytes of stored rows at a time, so that decoding a whole tensor needs no second copy of it.
void decode_source_rows(const TensorView& view, const QuantFormat& f, uint64_t begin, uint64_t count, float* dst) {
  const auto length = static_cast<uint64_t>(view.row_length());
  const uint64_t row_bytes = format_bytes(view.format, length);
  const uint64_t step = std::clamp<uint64_t>((uint64_t{1} << 22) / std::max<uint64_t>(row_bytes, 1), 1, count);
  std::vector<std::byte> stored(step * row_bytes);
  for (uint64_t r = 0; r < count; r += step) {
    const uint64_t now = std::min(step, count - r);
    view.source->read(begin + r, now, std::span(stored).first(now * row_bytes));
    f.decode(stored.data(), dst + r * length, now * length);
  }
}

}  // namespace

void decode_rows(const TensorView& view, uint64_t begin, uint64_t count, float* dst) {
  const QuantFormat& f = format(view.format);
  if (!f.decode)
    fail(ErrorKind::kUnsupported, "[tensor] {} has no decoding to F32; it can only be copied", f.name);
  const uint64_t rows = view.rows(), length = static_cast<uint64_t>(view.row_length());
  HONE_CHECK(begin <= rows && count <= rows - begin);
  const uint64_t start = format_bytes(view.format, begin * length),
                 size = format_bytes(view.format, count * length);
  if (view.source) {
    if (size > 0) decode_source_rows(view, f, begin, count, dst);
    return;
  }
  HONE_CHECK(start + size <= view.bytes.size());
  f.decode(view.bytes.data() + start, dst, count * length);
}

std::vector<float> decode(const TensorView& view) {
  const uint64_t count = element_count(view.shape);
  HONE_CHECK(format_bytes(view.format, count) <= view_bytes(view));  // before allocating
  std::vector<float> values(count);
  if (count > 0) decode_rows(view, 0, view.rows(), values.data());
  return values;
}

Tensor::Tensor(FormatId format, Shape shape) : format_(format), shape_(std::move(shape)) {
  size_ = format_bytes(format_, element_count(shape_));
  constexpr size_t kAlign = 64;
  if (size_ > SIZE_MAX - kAlign)
    fail(ErrorKind::kBadInput, "[tensor] shape {}: too large", shape_text(shape_));
  const size_t rounded = std::max<size_t>(kAlign, (size_ + kAlign - 1) / kAlign * kAlign);
  auto* data = static_cast<std::byte*>(std::aligned_alloc(kAlign, rounded));
  if (!data)
    fail(ErrorKind::kResource,
         "[tensor] cannot allocate {} bytes for shape {}; free memory or use a smaller model", size_,
         shape_text(shape_));
  std::memset(data, 0, rounded);
  data_.reset(data);
}

void Tensor::Free::operator()(std::byte* p) const {
  std::free(p);
}

}  // namespace hone::tensor
