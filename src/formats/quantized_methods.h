// What the readers of quantized layouts share: taking the parts of modules out of a checkpoint and putting
// whole matrices in. Inner header of quantized_*.cpp.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "formats/byte_reader.h"
#include "formats/quantized_matrix.h"

namespace hone::formats {

class Assembler {
 public:
  Assembler(tensor::Checkpoint& checkpoint, std::string method)
      : checkpoint_(checkpoint), method_(std::move(method)) {
    layout.method = method_;
  }

  tensor::QuantizedLayout layout;
  const std::string& method() const { return method_; }

  // Names of modules that have a tensor "<module><suffix>", in the order of the file.
  std::vector<std::string> modules_with(std::string_view suffix) const;
  // A part, or null; parts that were asked for are not listed in the checkpoint afterwards.
  const tensor::TensorView* find(const std::string& module, std::string_view suffix);
  const tensor::TensorView& need(const std::string& module, std::string_view suffix);
  bool has(const std::string& module, std::string_view suffix) const;
  // Leaves out every tensor with such a name: scales of activations and of caches.
  void drop_all(std::initializer_list<std::string_view> suffixes);

  // The matrix under "<module>.weight"; shape's last size is its columns.
  void put(const std::string& module, tensor::Shape shape, QuantizedMatrix matrix);
  void finish();

  // Error(kBadInput) about a module.
  template <typename... Args>
  [[noreturn]] void bad(const std::string& module, fmt::format_string<Args...> format, Args&&... args) const {
    throw Error(ErrorKind::kBadInput, fmt::format("[{}] {}: '{}': {}; the files do not belong together",
                                                  method_, checkpoint_.source_name(), printable(module),
                                                  fmt::format(format, std::forward<Args>(args)...)));
  }
  template <typename... Args>
  [[noreturn]] void unsupported(fmt::format_string<Args...> format, Args&&... args) const {
    throw Error(ErrorKind::kUnsupported, fmt::format("[{}] {}: {}", method_, checkpoint_.source_name(),
                                                     fmt::format(format, std::forward<Args>(args)...)));
  }
  std::string what() const { return checkpoint_.source_name() + "/config.json"; }

  // Checks of a part; errors name module and part.
  void expect_format(const std::string& module, std::string_view suffix, const tensor::TensorView& view,
                     std::initializer_list<tensor::FormatId> formats) const;
  void expect_shape(const std::string& module, std::string_view suffix, const tensor::TensorView& view,
                    const tensor::Shape& shape) const;
  // The plane of an array of scales; F16, BF16, F32, F8_E8M0, F8_E4M3 or, as `bytes_are`, U8.
  ScalePlane scale_plane(const std::string& module, std::string_view suffix, const tensor::TensorView& view,
                         tensor::ScaleType bytes_are = tensor::ScaleType::kE8M0) const;
  // A single number.
  float scalar(const std::string& module, std::string_view suffix, const tensor::TensorView& view) const;

 private:
  tensor::Checkpoint& checkpoint_;
  std::string method_;
  std::set<std::string> taken_;
  std::map<std::string, tensor::NamedTensor> made_;  // by the name of the whole tensor
};

// Sizes that multiply without overflow and stay below what a file can hold.
uint64_t checked_product(uint64_t a, uint64_t b);
inline uint64_t divide_up(uint64_t a, uint64_t b) {
  return a / b + (a % b != 0);
}
inline uint64_t size_at(const tensor::TensorView& view, size_t axis) {
  return static_cast<uint64_t>(view.shape[axis]);
}

using ReadMethod = void (*)(Assembler& assembler, const Json& config);

// One reader a method; config is the object that names it.
void read_mlx(Assembler& assembler, const Json& config);
void read_gptq(Assembler& assembler, const Json& config);
void read_awq(Assembler& assembler, const Json& config);
void read_auto_round(Assembler& assembler, const Json& config);
void read_compressed_tensors(Assembler& assembler, const Json& config);
void read_fp8(Assembler& assembler, const Json& config);
void read_modelopt(Assembler& assembler, const Json& config);
void read_bitsandbytes(Assembler& assembler, const Json& config);
void read_bitnet(Assembler& assembler, const Json& config);

}  // namespace hone::formats
