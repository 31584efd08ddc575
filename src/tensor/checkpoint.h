// A model's files as named tensors plus metadata, before anyone knows which family it is.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/file.h"
#include "tensor/tensor.h"

namespace hone::tensor {

// A GGUF metadata value with its exact type, so that a file survives a round trip.
struct MetaArray;
using MetaValue = std::variant<uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, float, bool, std::string, uint64_t,
                               int64_t, double, std::shared_ptr<const MetaArray>>;
struct MetaArray {
  std::variant<std::vector<uint8_t>, std::vector<int8_t>, std::vector<uint16_t>, std::vector<int16_t>,
               std::vector<uint32_t>, std::vector<int32_t>, std::vector<float>, std::vector<bool>,
               std::vector<std::string>, std::vector<uint64_t>, std::vector<int64_t>, std::vector<double>> values;
  size_t size() const { return std::visit([](const auto& v) { return v.size(); }, values); }
};

// Key-value pairs in file order.
class Metadata {
 public:
  const MetaValue* find(std::string_view key) const;
  void set(const std::string& key, MetaValue value);  // replaces in place or appends
  void erase(std::string_view key);
  const std::vector<std::pair<std::string, MetaValue>>& entries() const { return entries_; }

  // Typed access with numeric widening; the _or forms return the fallback when the key is absent.
  // Error(kBadInput) names the key when the type does not fit.
  std::string get_string(std::string_view key) const;
  std::string get_string_or(std::string_view key, std::string fallback) const;
  int64_t get_int(std::string_view key) const;
  int64_t get_int_or(std::string_view key, int64_t fallback) const;
  double get_number_or(std::string_view key, double fallback) const;
  bool get_bool_or(std::string_view key, bool fallback) const;
  const std::vector<std::string>* find_strings(std::string_view key) const;  // null when absent
  // Empty when absent; a single number counts as an array of one.
  std::vector<double> get_numbers(std::string_view key) const;
  std::vector<int64_t> get_ints(std::string_view key) const;

 private:
  std::vector<std::pair<std::string, MetaValue>> entries_;
  std::unordered_map<std::string, size_t> index_;
};

template <typename T>
MetaValue make_array(std::vector<T> values) {
  return std::make_shared<const MetaArray>(MetaArray{std::move(values)});
}

struct NamedTensor {
  std::string name;
  TensorView view;
};

enum class CheckpointKind { kGguf, kHuggingFace };

// How a tool laid out the quantized weights of a Hugging Face checkpoint: for reports and writers. The tensors
// themselves are whole matrices in a format of the table.
struct QuantizedLayout {
  std::string method;       // "mlx", "gptq", "awq", "compressed-tensors", "fp8", "modelopt", "bitsandbytes", "bitnet"
  std::string variant;      // mode or format: "affine", "gptq_v2", "gemm", "pack-quantized"
  int bits = 0;             // of most weights; 0: not stated
  int64_t group_size = 0;   // -1: one scale per row; 0: not stated
  bool symmetric = false;   // every zero point is the middle
  bool act_order = false;   // some matrix has groups of scattered columns
  size_t modules = 0;       // matrices that were put together
};

// Read-only and cheap to copy views from; keeps its maps alive.
class Checkpoint {
 public:
  CheckpointKind kind = CheckpointKind::kGguf;
  std::filesystem::path path;               // the file or directory that was opened
  std::vector<std::filesystem::path> files; // every weight file, in shard order
  Metadata metadata;                        // GGUF only
  std::map<std::string, std::string> texts; // Hugging Face only: "config.json" -> content, and so on
  std::optional<QuantizedLayout> layout;    // set when another tool's quantized layout was put together

  void add(NamedTensor tensor);  // Error(kBadInput) on a duplicate name
  void replace_all(std::vector<NamedTensor> tensors);  // for readers that put tensors together
  void keep_alive(std::shared_ptr<const void> owner) { owners_.push_back(std::move(owner)); }
  const std::vector<NamedTensor>& tensors() const { return tensors_; }
  const NamedTensor* find(std::string_view name) const;
  uint64_t tensor_bytes() const;
  std::string source_name() const { return path.filename().string(); }  // for messages

 private:
  std::vector<NamedTensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
  std::vector<std::shared_ptr<const void>> owners_;
};

// A tensor on its way into a file: its bytes are produced when the writer asks for them, one tensor at
// a time, so that a model larger than memory streams through.
struct OutputTensor {
  std::string name;
  FormatId format = FormatId::kF32;
  Shape shape;
  // Fills exactly format_bytes(...) bytes.
  std::function<void(std::span<std::byte> dst)> produce;
  // The same tensor where it already lies (bytes or source of rows), for who wants some rows at a time. Of no rows
  // when only produce knows them; who replaces produce clears it. Valid while produce lives.
  TensorView view = {FormatId::kF32, {0}, {}};
};

}  // namespace hone::tensor
