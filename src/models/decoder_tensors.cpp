// The tensor lists of decoders: names in both containers, shapes and row orders.
#include "base/error.h"
#include "models/decoder_blocks.h"

namespace hone::models {

namespace {

class LayerList {
 public:
  LayerList(const ModelConfig& config, int64_t layer, std::vector<TensorInfo>& list)
      : layer_(layer),
        blk_(fmt::format("blk.{}.", layer)),
        hf_(fmt::format("model.layers.{}.", layer)),
        hidden_(config.hidden_size),
        list_(list) {}

  void norm(const char* gguf, const char* name) { vector(fmt::format("{}.weight", gguf), fmt::format("{}.weight", name), Role::kNorm, hidden_); }
  void head_norm(const char* gguf, const char* name, int64_t width) {
    vector(fmt::format("{}.weight", gguf), fmt::format("{}.weight", name), Role::kNorm, width);
  }
  // [out, in]; heads: whose rows GGUF permutes.
  void matrix(const char* gguf, const char* name, Role role, int64_t out, int64_t in, bool bias, int64_t heads = 0) {
    list_.push_back({fmt::format("{}{}.weight", blk_, gguf), fmt::format("{}{}.weight", hf_, name), role, layer_, {out, in},
                     true, heads, false});
    if (bias) vector(std::string(gguf) + ".bias", std::string(name) + ".bias", Role::kBias, out, heads);
  }

 private:
  void vector(const std::string& gguf, const std::string& name, Role role, int64_t size, int64_t heads = 0) {
    list_.push_back({blk_ + gguf, hf_ + name, role, layer_, {size}, true, heads, true});
  }
  int64_t layer_;
  std::string blk_, hf_;
  int64_t hidden_;
  std::vector<TensorInfo>& list_;
};

void add_layer(const ModelConfig& c, int64_t layer, const LayerForm& form, std::vector<TensorInfo>& list) {
  LayerList add(c, layer, list);
  const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  add.norm("attn_norm", "input_layernorm");
  if (form.fused) {
    add.matrix("attn_qkv", "self_attn.qkv_proj", Role::kQueryKeyValue, q + 2 * kv, c.hidden_size, c.attention_bias);
  } else {
    add.matrix("attn_q", "self_attn.q_proj", Role::kQuery, q, c.hidden_size, c.attention_bias, form.qk_permuted ? c.heads : 0);
    add.matrix("attn_k", "self_attn.k_proj", Role::kKey, kv, c.hidden_size, c.attention_bias, form.qk_permuted ? c.kv_heads : 0);
    add.matrix("attn_v", "self_attn.v_proj", Role::kValue, kv, c.hidden_size, c.attention_bias);
  }
  if (form.head_norms) {
    add.head_norm("attn_q_norm", "self_attn.q_norm", c.head_dim);
    add.head_norm("attn_k_norm", "self_attn.k_norm", c.head_dim);
  }
  add.matrix("attn_output", "self_attn.o_proj", Role::kAttentionOutput, c.hidden_size, q, c.output_bias);
  // With norms behind the blocks the Hugging Face name of the one before feed-forward goes to the one behind attention.
  if (form.post_norms) add.norm("post_attention_norm", "post_attention_layernorm");
  add.norm("ffn_norm", form.post_norms ? "pre_feedforward_layernorm" : "post_attention_layernorm");
  if (form.fused) {
    add.matrix("ffn_up", "mlp.gate_up_proj", Role::kUp, 2 * c.ffn_size, c.hidden_size, c.mlp_bias);
  } else {
    add.matrix("ffn_gate", "mlp.gate_proj", Role::kGate, c.ffn_size, c.hidden_size, c.mlp_bias);
    add.matrix("ffn_up", "mlp.up_proj", Role::kUp, c.ffn_size, c.hidden_size, c.mlp_bias);
  }
  add.matrix("ffn_down", "mlp.down_proj", Role::kDown, c.hidden_size, c.ffn_size, c.mlp_bias);
  if (form.post_norms) add.norm("post_ffw_norm", "post_feedforward_layernorm");
}

}  // namespace

std::vector<TensorInfo> decoder_tensors(const ModelConfig& c, const LayerForm& form) {
  std::vector<TensorInfo> list;
  list.push_back({"token_embd.weight", "model.embed_tokens.weight", Role::kEmbedding, -1, {c.vocab_size, c.hidden_size}});
  for (int64_t layer = 0; layer < c.layers; ++layer) add_layer(c, layer, form, list);
  list.push_back({"output_norm.weight", "model.norm.weight", Role::kNorm, -1, {c.hidden_size}, true, 0, true});
  if (!c.tied_head) list.push_back({"output.weight", "lm_head.weight", Role::kHead, -1, {c.vocab_size, c.hidden_size}});
  return list;
}

const tensor::NamedTensor* find_tensor(const tensor::Checkpoint& checkpoint, const TensorInfo& info) {
  return checkpoint.find(checkpoint.kind == tensor::CheckpointKind::kGguf ? info.gguf_name : info.hf_name);
}

}  // namespace hone::models
