// Writing a model in another container: names, row order and metadata translated by the family's tables.
#pragma once

#include <functional>
#include <map>

#include "models/model.h"

namespace hone::models {

// Everything a writer needs. Tensors are lazy: produced one at a time.
struct GgufExport {
  tensor::Metadata metadata;
  std::vector<tensor::OutputTensor> tensors;   // canonical order: embedding, blocks, norm, head
  std::vector<TensorInfo> infos;               // parallel to tensors
};

// The model as GGUF with every tensor in the format it has (plain HF types as they are, norms and biases as
// F32). Rows of q and k are permuted where the containers differ: bytes of rows move, values do not change.
// Metadata of a GGUF source is kept; of an HF source it is made from config, tokenizer and template.
GgufExport export_gguf(const Model& model);

// general.file_type (ggml's enumeration) of a file whose bytes are mostly in this format; 1024, "guessed", for a
// format that has no number of its own. K formats by their medium mix.
uint32_t gguf_file_type(tensor::FormatId format);

struct HfExport {
  std::map<std::string, std::string> texts;    // config.json, tokenizer.json, ...
  std::vector<tensor::OutputTensor> tensors;
};
// Error(kUnsupported) when a tensor is in a block format that safetensors cannot carry, unless
// dequantize_to names a plain format for those.
HfExport export_hf(const Model& model, std::optional<tensor::FormatId> dequantize_to = {});

// All rows of a tensor as F32 in GGUF row order, whatever the source container.
std::vector<float> gguf_order_f32(const Model& model, const TensorInfo& info);
// Reorders the rows of one tensor between the two orders; row_bytes long each.
void permute_rows(std::span<const std::byte> src, std::span<std::byte> dst, int64_t rows, int64_t heads, bool to_gguf);

}  // namespace hone::models
