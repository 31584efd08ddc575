// Zeroed memory straight from the kernel. A page costs nothing until it is written, so that caches and
// arenas may be laid out for their limits and pay for what a session really uses.
#pragma once

#include <cstddef>
#include <span>

namespace hone::exec {

class Pages {
 public:
  Pages() = default;
  explicit Pages(size_t bytes);  // Error(kResource) when the system refuses
  ~Pages();
  Pages(Pages&& other) noexcept;
  Pages& operator=(Pages&& other) noexcept;
  std::span<std::byte> bytes() const { return {data_, size_}; }
  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace hone::exec
