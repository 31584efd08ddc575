// The pieces that decoder families build their graphs from. A family's build() reads like its formula: embed, blocks
// of attention and feed-forward, head.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "models/family.h"

namespace hone::models {

using ir::ValueId;

// GGUF names of the divisors of longrope.
inline constexpr const char* kLongFactors = "rope_factors_long.weight";
inline constexpr const char* kShortFactors = "rope_factors_short.weight";

// How the layers of a family differ from the common form: norm, q, k, v, output, norm, gate, up, down.
struct LayerForm {
  bool qk_permuted = false;   // GGUF keeps rows of q and k with rotary pairs adjacent
  bool fused = false;         // q, k, v are one matrix and gate, up another, rows in this order
  bool head_norms = false;    // RMSNorm over each head of q and k
  bool post_norms = false;    // norms also behind attention and feed-forward
};
// Tensors common to decoders with GQA attention and a gated feed-forward, in canonical order. Families
// change or extend the list.
std::vector<TensorInfo> decoder_tensors(const ModelConfig& config, const LayerForm& form);
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

  ValueId embed();                                                            // [batch, sequence, hidden], scaled
  ValueId norm(ValueId x, const std::string& name);                           // RMS, over the last axis
  ValueId norm_if_any(ValueId x, const std::string& name);                    // x itself where there is no such weight
  ValueId head_norm(ValueId x, int64_t heads, const std::string& name);       // RMS over each head, if there is a weight
  ValueId linear(ValueId x, const std::string& name);                         // x W (+ bias where there is one)
  ValueId rotate(ValueId x, int64_t heads, int64_t layer, const std::string& name);  // rotary, tables shared by layers
  // Causal attention of [batch, sequence, heads * D] over the cache and itself; window, scale and cap as configured.
  ValueId attention(ValueId q, ValueId k, ValueId v, int64_t layer);
  ValueId self_attention(ValueId x, int64_t layer);                           // q, k, v, norms, rotation, attention
  ValueId attention_output(ValueId attended, int64_t layer) { return linear(attended, fmt::format("blk.{}.attn_output", layer)); }
  // The rows that get logits, [batch, sequence, width] -> [rows, width].
  ValueId select(ValueId x, const std::string& name);
  ValueId gated_mlp(ValueId x, int64_t layer);                                // down(act(gate x) * up x)
  ValueId add(ValueId a, ValueId b, const std::string& name) { return graph_.add("Add", name, {a, b}); }
  // Last norm and head; only the rows asked for when the options say so and they are not picked yet.
  void finish(ValueId x);
  ir::Graph take() { return std::move(graph_); }

 private:
  using Tables = std::pair<ValueId, ValueId>;  // cos, sin
  const tensor::NamedTensor& tensor(const std::string& gguf_name) const;
  ValueId ints(const std::string& name, std::vector<int64_t> values);
  ValueId number(const std::string& name, double value);  // a scalar
  ValueId head_weight();
  std::vector<ValueId> split(ValueId x, const std::string& name, const std::vector<std::string>& parts, std::vector<int64_t> sizes);
  const Tables& tables(bool local);
  Tables add_tables(const std::string& name, const std::vector<double>& frequencies, double factor);

  const ModelConfig& config_;
  const tensor::Checkpoint& checkpoint_;
  Family::GraphOptions options_;
  std::unordered_map<std::string, const tensor::NamedTensor*> tensors_;
  std::unordered_map<std::string, float> offsets_;  // what a stored vector lacks of its value
  ir::Graph graph_;
  ir::Dim batch_, sequence_, past_;
  ValueId input_ids_ = ir::kNoValue, position_ids_ = ir::kNoValue, logit_rows_ = ir::kNoValue;
  std::optional<Tables> tables_, local_tables_;
};

// x += norm(attention(norm x)); x += norm(mlp(norm x)), layer by layer, then the head; the outer norms where a family
// has them. The graph of every decoder whose blocks follow each other and whose layers are alike.
ir::Graph sequential_decoder(const ModelConfig& config, const tensor::Checkpoint& checkpoint,
                             const std::vector<TensorInfo>& tensors, const Family::GraphOptions& options);

}  // namespace hone::models
