// A model family: how its checkpoints are named, what their configuration means, and the graph they
// compute. One file per family and one line in family_list() of family.cpp.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "tensor/checkpoint.h"
#include "text/tokenizer.h"

namespace hone::models {

enum class RopeScaling { kNone, kLinear, kLlama3, kYarn, kLongRope };
enum class Activation { kSilu, kGeluTanh };

// Decoder-only language models; sizes in elements. Later families extend it.
struct ModelConfig {
  std::string family;          // "llama"
  std::string architecture;    // GGUF architecture, "llama"
  int64_t vocab_size = 0, hidden_size = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn_size = 0;
  int64_t context_length = 0;
  double norm_epsilon = 1e-5;
  double rope_theta = 10000;
  RopeScaling rope_scaling = RopeScaling::kNone;
  double rope_factor = 1, rope_low_freq_factor = 1, rope_high_freq_factor = 4;
  int64_t rope_original_context = 0;
  bool rope_interleaved = false;  // pairs (2i, 2i+1), as GGUF of llama stores q and k; else halves
  int64_t rotary_dim = 0;         // leading elements of each head that rotate; 0: all
  double rope_local_theta = 0;    // base of the layers with a window, unscaled; 0: the same as elsewhere
  double rope_beta_fast = 32, rope_beta_slow = 1;        // yarn
  double rope_attention_factor = 1;                      // yarn, longrope: multiplies cos and sin
  std::vector<float> rope_short_factors, rope_long_factors;  // longrope: divisors of the frequencies
  int64_t sliding_window = 0;     // keys a query sees, itself included; 0: all
  std::vector<bool> sliding_layers;  // which layers the window holds for; empty: for every one
  double attention_scale = 0;     // 0: head_dim^-1/2
  double attention_softcap = 0, logit_softcap = 0;       // x becomes c tanh(x / c); 0: as it is
  double embedding_scale = 1;
  Activation activation = Activation::kSilu;
  bool tied_head = false;
  bool attention_bias = false, output_bias = false, mlp_bias = false;  // attention: q, k and v

  int64_t rotary_width() const { return rotary_dim > 0 ? rotary_dim : head_dim; }
  bool slides(int64_t layer) const {
    return sliding_window > 0 && (sliding_layers.empty() || sliding_layers[static_cast<size_t>(layer)]);
  }
  int64_t window(int64_t layer) const { return slides(layer) ? sliding_window : 0; }
};

// What a tensor of the canonical (GGUF) name list is for.
enum class Role { kEmbedding, kHead, kNorm, kQuery, kKey, kValue, kQueryKeyValue, kAttentionOutput, kGate, kUp, kDown, kBias, kRopeFactors, kOther };

struct TensorInfo {
  std::string gguf_name, hf_name;
  Role role = Role::kOther;
  int64_t layer = -1;
  tensor::Shape shape;
  bool required = true;
  // GGUF row 2i+p of each head equals HF row p*D/2+i (rotary pairs adjacent in GGUF, halves in HF).
  int64_t permuted_heads = 0;   // 0: rows in the same order
  bool keep_f32 = false;        // norms, biases: GGUF stores them as F32
  float gguf_offset = 0;        // GGUF stores the value plus this (norm weights that Hugging Face keeps less 1)
};

class Family {
 public:
  virtual ~Family() = default;
  virtual std::string id() const = 0;
  virtual bool matches(const tensor::Checkpoint& checkpoint) const = 0;
  virtual ModelConfig read_config(const tensor::Checkpoint& checkpoint) const = 0;
  virtual std::vector<TensorInfo> tensors(const ModelConfig& config, const tensor::Checkpoint& checkpoint) const = 0;
  struct GraphOptions {
    int64_t max_context = 0;      // rows of the rotary tables; 0: the model's context length
    bool select_rows = false;     // adds input "logit_rows" int64 [rows]: flat positions (batch * sequence) that get logits
    bool with_cache = true;       // KV states; false: one forward over the prompt
    // With select_rows: the rows are picked before the last block's output product instead of before the last norm, since
    // nothing behind attention mixes rows. For sessions; not where activations of every row are wanted (imatrix).
    bool early_rows = false;
  };
  // Inputs: input_ids int64 [batch, sequence], position_ids int64 [batch, sequence], and as options say.
  // Outputs: logits F32 [batch, sequence, vocab] or [rows, vocab]. Weight constants carry the
  // checkpoint's tensor name in Constant::source and view its bytes.
  virtual ir::Graph build(const ModelConfig& config, const tensor::Checkpoint& checkpoint, const GraphOptions& options) const = 0;
  // Metadata for writing: GGUF keys ("llama.context_length", ...) or config.json.
  virtual void write_gguf_metadata(const ModelConfig& config, tensor::Metadata& metadata) const = 0;
  virtual std::string write_hf_config(const ModelConfig& config, const text::Tokenizer* tokenizer) const = 0;
  // What unmodified llama.cpp leaves out of such a model's GGUF, one sentence each; for the user who exports.
  virtual std::vector<std::string> gguf_cautions(const ModelConfig& config) const { return (void)config, std::vector<std::string>{}; }
};

const std::vector<const Family*>& family_list();
// Error(kUnsupported) names the architecture and lists what is known.
const Family& find_family(const tensor::Checkpoint& checkpoint);

}  // namespace hone::models
