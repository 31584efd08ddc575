// Adapter files: PEFT directories, MLX adapter directories, GGUF adapters, control vectors. What they say,
// before anyone knows which model it is for; models/adapter.h fits it to one.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tensor/checkpoint.h"
#include "tensor/low_rank.h"

namespace hone::formats {

enum class AdapterKind { kPeft, kMlx, kGguf };
const char* adapter_kind_name(AdapterKind kind);  // "PEFT"

struct AdapterTensor {
  std::string base;              // the weight it changes, in the file's own naming, with ".weight"
  tensor::LowRankUpdate update;  // of an embedding already turned to [tokens, hidden]
  bool input_first = false;  // the base is stored [in, out] (fan_in_fan_out): B A belongs to its transpose
};

struct AdapterFile {
  AdapterKind kind = AdapterKind::kPeft;
  std::string source;        // file or directory name, for messages
  std::string architecture;  // GGUF: general.architecture; else empty
  std::string base_model;    // PEFT: base_model_name_or_path
  std::vector<AdapterTensor> updates;
  std::vector<tensor::NamedTensor> replaced;        // whole tensors that take the place of the base's
  bool splits_tied_embedding = false;               // a replaced embedding leaves a tied head as it was
  std::vector<std::shared_ptr<const void>> owners;  // keep the bytes that the views show

  bool gguf_names() const { return kind == AdapterKind::kGguf; }
};

// A .gguf file, or a directory with adapter_config.json and adapter_model.safetensors (PEFT) or
// adapters.safetensors (MLX); a .safetensors file stands for its directory. Error(kBadInput) for what is
// malformed, Error(kUnsupported) for kinds of adapters that change the computation in another way; both name
// every fault at once.
AdapterFile read_adapter(const std::filesystem::path& path);

// The same from parts, for tests and fuzzing. weights: the tensors of the file; its maps are kept alive.
AdapterFile parse_peft(const std::string& config, const tensor::Checkpoint& weights,
                       const std::string& source);
AdapterFile parse_mlx(const std::string& config, const tensor::Checkpoint& weights,
                      const std::string& source);
AdapterFile parse_gguf_adapter(const tensor::Checkpoint& weights, const std::string& source);

// A matrix [n, m] as F32 [m, n]; the owner is appended.
tensor::TensorView transposed(const tensor::TensorView& matrix,
                              std::vector<std::shared_ptr<const void>>& owners);

// Directions that are added to the residual stream, by layer: "direction.N" [hidden] belongs behind block N
// (blocks count from 0; block 0 never has one).
struct ControlVector {
  std::string model_hint;
  std::map<int64_t, std::vector<float>> directions;  // all of one length
};
// GGUF with general.architecture "controlvector". Errors as above.
ControlVector read_control_vector(const std::filesystem::path& path);
ControlVector parse_control_vector(const tensor::Checkpoint& file, const std::string& source);

}  // namespace hone::formats
