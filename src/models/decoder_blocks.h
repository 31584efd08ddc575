// The pieces that decoder families build their graphs from. A family's build() reads like its formula: embed, blocks
// of attention and feed-forward, head.
#pragma once

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "models/family.h"

namespace hone::models {

using ir::ValueId;

// Tensors common to decoders with GQA attention and a gated feed-forward, in canonical order. Families
// change or extend the list.
std::vector<TensorInfo> decoder_tensors(const ModelConfig& config, bool qk_permuted);
// A tensor under the naming of this checkpoint; null when absent.
const tensor::NamedTensor* find_tensor(const tensor::Checkpoint& checkpoint, const TensorInfo& info);

class DecoderBuilder {
 public:
  DecoderBuilder(const ModelConfig& config, const tensor::Checkpoint& checkpoint, const std::vector<TensorInfo>& tensors,
                 const Family::GraphOptions& options);

  ir::Graph& graph() { return graph_; }
  // Constants by GGUF name. A matrix [out, in] becomes the logical [in, out], stored transposed; vectors
  // are F32. Error(kBadInput) when the checkpoint lacks it.
  ValueId weight(const std::string& gguf_name);
  bool has(const std::string& gguf_name) const;

  ValueId embed();                                                            // [batch, sequence, hidden]
  ValueId norm(ValueId x, const std::string& name);                           // RMS, over the last axis
  ValueId linear(ValueId x, const std::string& name);                         // x W (+ bias where there is one)
  ValueId rotate(ValueId x, int64_t heads, const std::string& name);          // rotary, tables shared by all layers
  // Causal attention of [batch, sequence, heads * D] over the cache and itself; scale 0: D^-1/2.
  ValueId attention(ValueId q, ValueId k, ValueId v, int64_t layer, int64_t sliding_window, double scale = 0);
  ValueId self_attention(ValueId x, int64_t layer);                           // q, k, v, rotation, attention, output
  ValueId gated_mlp(ValueId x, int64_t layer, const char* activation);        // down(act(gate x) * up x)
  ValueId add(ValueId a, ValueId b, const std::string& name) { return graph_.add("Add", name, {a, b}); }
  // Last norm and head; only the rows asked for when the options say so.
  void finish(ValueId x);
  ir::Graph take() { return std::move(graph_); }

 private:
  const tensor::NamedTensor& tensor(const std::string& gguf_name) const;
  ValueId ints(const std::string& name, std::vector<int64_t> values);
  std::pair<ValueId, ValueId> tables();

  const ModelConfig& config_;
  const tensor::Checkpoint& checkpoint_;
  Family::GraphOptions options_;
  std::unordered_map<std::string, const tensor::NamedTensor*> tensors_;
  ir::Graph graph_;
  ir::Dim batch_, sequence_, past_;
  ValueId input_ids_ = ir::kNoValue, position_ids_ = ir::kNoValue, cos_ = ir::kNoValue, sin_ = ir::kNoValue;
};

}  // namespace hone::models
