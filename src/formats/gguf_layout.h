// Numbers of the GGUF format that reader and writer share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <type_traits>

#include "tensor/checkpoint.h"

namespace hone::formats {

inline constexpr char kGgufMagic[4] = {'G', 'G', 'U', 'F'};
inline constexpr uint32_t kGgufVersion = 3;
inline constexpr uint32_t kGgufAlignment = 32;  // where general.alignment is absent
inline constexpr size_t kGgufMaxName = 63;      // bytes of a tensor name; ggml keeps 64 with the NUL
inline constexpr size_t kGgufMaxDims = 4;
inline constexpr uint64_t kGgufMaxCount = uint64_t{1} << 30;  // bytes of a string, elements of an array
inline constexpr const char* kAlignmentKey = "general.alignment";
inline constexpr const char* kSplitNo = "split.no";                  // u16, from 0
inline constexpr const char* kSplitCount = "split.count";            // u16
inline constexpr const char* kSplitTensors = "split.tensors.count";  // i32, of all shards

enum class GgufType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

// The value type that carries a C++ type of tensor::MetaValue.
template <typename T>
constexpr GgufType gguf_type_of() {
  if constexpr (std::is_same_v<T, uint8_t>)
    return GgufType::kU8;
  else if constexpr (std::is_same_v<T, int8_t>)
    return GgufType::kI8;
  else if constexpr (std::is_same_v<T, uint16_t>)
    return GgufType::kU16;
  else if constexpr (std::is_same_v<T, int16_t>)
    return GgufType::kI16;
  else if constexpr (std::is_same_v<T, uint32_t>)
    return GgufType::kU32;
  else if constexpr (std::is_same_v<T, int32_t>)
    return GgufType::kI32;
  else if constexpr (std::is_same_v<T, float>)
    return GgufType::kF32;
  else if constexpr (std::is_same_v<T, bool>)
    return GgufType::kBool;
  else if constexpr (std::is_same_v<T, std::string>)
    return GgufType::kString;
  else if constexpr (std::is_same_v<T, uint64_t>)
    return GgufType::kU64;
  else if constexpr (std::is_same_v<T, int64_t>)
    return GgufType::kI64;
  else if constexpr (std::is_same_v<T, double>)
    return GgufType::kF64;
  else
    return GgufType::kArray;
}

// "<prefix>-00002-of-00005.gguf" -> prefix; nothing when the name does not have that form.
struct ShardName {
  std::string prefix;
  unsigned number = 0, count = 0;
};
std::optional<ShardName> parse_shard_name(const std::string& file_name, const std::string& extension);
std::string shard_name(const std::string& prefix, size_t number, size_t count, const std::string& extension);

}  // namespace hone::formats
