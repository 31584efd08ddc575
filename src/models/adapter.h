// Adapters fitted to a model: the names, shapes and row orders of any adapter file translated to those of the
// opened checkpoint; merging into the weights; writing as a GGUF adapter or a PEFT directory.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "formats/adapter.h"
#include "models/model.h"
#include "tensor/low_rank.h"

namespace hone::models {

struct Adapter {
  std::string source;  // for messages
  // By GGUF name; rows of B (and magnitudes) in the order of the model's container. A tied head has an entry
  // of its own, "output.weight", which the embedding does not share.
  std::map<std::string, tensor::LowRankUpdate> updates;
  std::map<std::string, tensor::TensorView>
      replaced;                        // whole tensors, by GGUF name, as the container stores them
  bool splits_tied_embedding = false;  // a replaced embedding leaves a tied head as it was
  std::vector<std::shared_ptr<const void>> owners;  // of the bytes behind the views

  int64_t largest_rank() const;
  bool has_magnitudes() const;  // DoRA
};

// Error(kBadInput) names every module that the model does not have and every shape that does not fit.
Adapter fit_adapter(formats::AdapterFile file, const Model& model);
Adapter read_adapter(const std::filesystem::path& path, const Model& model);

struct ScaledAdapter {
  const Adapter* adapter;
  double scale = 1;
};

// What merging did to the checkpoint. Quantized weights become F32 (made on demand); a writer that wants them
// small again encodes them anew.
struct MergeReport {
  std::vector<std::string> changed;                        // GGUF names, in canonical order
  std::map<std::string, tensor::FormatId> from_quantized;  // GGUF name -> format before
};
// Puts adapters into the weights, one after another: W + scale * B A in F32, rounded once to the base's plain
// format; rows are computed when someone reads them. DoRA's magnitudes and whole tensors included. The model
// gets a checkpoint of its own; adapters may go away afterwards, their bytes are kept alive. A tied head that
// is to differ from the embedding becomes a tensor of its own.
MergeReport merge_adapters(Model& model, std::span<const ScaledAdapter> adapters);
MergeReport merge_adapter(Model& model, const Adapter& adapter, double scale = 1);
// The whole tensors alone: what has to happen to a model before its graph is built when the low-rank part is
// applied at run time.
void replace_tensors(Model& model, const Adapter& adapter);

// GGUF as llama.cpp loads it. format: F32, F16 or BF16 for all matrices, or nothing: as they are.
// Error(kUnsupported) names DoRA magnitudes and whole tensors, which such a file cannot hold.
struct AdapterGguf {
  tensor::Metadata metadata;
  std::vector<tensor::OutputTensor> tensors;
};
AdapterGguf export_adapter_gguf(const Model& model, const Adapter& adapter,
                                std::optional<tensor::FormatId> format = {});
// adapter_config.json and the tensors of adapter_model.safetensors. Error(kUnsupported) where only a part of
// the tensors has magnitudes, or a whole tensor is no weight of a module.
struct AdapterPeft {
  std::string config;
  std::vector<tensor::OutputTensor> tensors;
};
AdapterPeft export_adapter_peft(const Model& model, const Adapter& adapter,
                                std::optional<tensor::FormatId> format = {});

}  // namespace hone::models
