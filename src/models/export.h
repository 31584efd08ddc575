// Writing a model in another container: names, row order and metadata translated by the family's tables.
#pragma once

#include <functional>
#include <map>

#include "base/thread_pool.h"
#include "formats/safetensors.h"
#include "models/model.h"
#include "tensor/transcode.h"

namespace hone::models {

// Everything a writer needs. Tensors are lazy: produced one at a time.
struct GgufExport {
  tensor::Metadata metadata;
  std::vector<tensor::OutputTensor> tensors;   // canonical order: embedding, blocks, norm, head
  std::vector<TensorInfo> infos;               // parallel to tensors
  // Quantized tensors that no GGUF type holds exactly, by name, with the reason. They keep the format of their source,
  // which the writer refuses: who writes them encodes them anew first.
  std::map<std::string, std::string> not_exact;
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
  formats::HfWriteOptions options;             // for write_hf_directory
  std::vector<std::string> changed;            // GGUF names of tensors whose numbers were encoded anew
};
// Error(kUnsupported) when a tensor is in a block format that safetensors cannot carry, unless
// dequantize_to names a plain format for those.
HfExport export_hf(const Model& model, std::optional<tensor::FormatId> dequantize_to = {});

// A directory in the quantized layout of another tool.
struct HfTarget {
  tensor::Container layout = tensor::Container::kMlx;           // kMlx, kCompressedTensors or kGptq
  // By GGUF name: what these shall be in, encoded anew where their numbers do not fit exactly. Other quantized tensors
  // keep their numbers exactly, in the layout's smallest fitting format; plain ones stay plain.
  std::map<std::string, tensor::FormatId> formats;
  std::map<std::string, std::vector<float>> importances;        // by GGUF name, for those encoded anew
  ThreadPool* pool = nullptr;
};
// Error(kUnsupported) names the first tensor that the layout cannot hold exactly, with the reason. Embedding and head of
// GPTQ and compressed-tensors are decoded: their loaders take these as floats.
HfExport export_quantized_hf(const Model& model, const HfTarget& target);

// All rows of a tensor as F32 in GGUF row order, whatever the source container.
std::vector<float> gguf_order_f32(const Model& model, const TensorInfo& info);
// Reorders the rows of one tensor between the two orders; row_bytes long each.
void permute_rows(std::span<const std::byte> src, std::span<std::byte> dst, int64_t rows, int64_t heads, bool to_gguf);

}  // namespace hone::models
