// Decoder building blocks over the IR.
#include "models/decoder_blocks.h"

#include <algorithm>

#include "base/error.h"
#include "models/rope.h"

namespace hone::models {

namespace {

// Rows of the rotary tables when the caller names no context: what a checkpoint claims is not memory.
constexpr int64_t kMaxDefaultRows = 131072;

void add_layer(const ModelConfig& c, int64_t layer, bool permuted, std::vector<TensorInfo>& list) {
  const std::string blk = fmt::format("blk.{}.", layer), hf = fmt::format("model.layers.{}.", layer);
  const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  auto vector = [&](const std::string& gguf, const std::string& name, Role role, int64_t size, int64_t heads = 0) {
    list.push_back({blk + gguf, hf + name, role, layer, {size}, true, heads, true});
  };
  auto matrix = [&](const char* gguf, const char* name, Role role, int64_t out, int64_t in, bool bias, int64_t heads = 0) {
    list.push_back({fmt::format("{}{}.weight", blk, gguf), fmt::format("{}{}.weight", hf, name), role, layer, {out, in},
                    true, heads, false});
    if (bias) vector(std::string(gguf) + ".bias", std::string(name) + ".bias", Role::kBias, out, heads);
  };
  vector("attn_norm.weight", "input_layernorm.weight", Role::kNorm, c.hidden_size);
  matrix("attn_q", "self_attn.q_proj", Role::kQuery, q, c.hidden_size, c.attention_bias, permuted ? c.heads : 0);
  matrix("attn_k", "self_attn.k_proj", Role::kKey, kv, c.hidden_size, c.attention_bias, permuted ? c.kv_heads : 0);
  matrix("attn_v", "self_attn.v_proj", Role::kValue, kv, c.hidden_size, c.attention_bias);
  matrix("attn_output", "self_attn.o_proj", Role::kAttentionOutput, c.hidden_size, q, c.output_bias);
  vector("ffn_norm.weight", "post_attention_layernorm.weight", Role::kNorm, c.hidden_size);
  matrix("ffn_gate", "mlp.gate_proj", Role::kGate, c.ffn_size, c.hidden_size, c.mlp_bias);
  matrix("ffn_up", "mlp.up_proj", Role::kUp, c.ffn_size, c.hidden_size, c.mlp_bias);
  matrix("ffn_down", "mlp.down_proj", Role::kDown, c.hidden_size, c.ffn_size, c.mlp_bias);
}

// The stored tensor as a constant: its bytes in place, or lazy where the rows are made on demand.
ir::Constant stored_constant(const tensor::NamedTensor& tensor, bool transposed) {
  ir::Constant constant;
  constant.format = tensor.view.format;
  constant.transposed = transposed;
  constant.bytes = tensor.view.bytes;
  constant.source = tensor.name;
  if (tensor.view.source) {
    constant.owner = std::shared_ptr<const void>(std::shared_ptr<const void>(), tensor.view.source);
    constant.produce = [view = tensor.view](std::span<std::byte> dst) { tensor::read_all(view, dst); };
  }
  return constant;
}

}  // namespace

std::vector<TensorInfo> decoder_tensors(const ModelConfig& c, bool qk_permuted) {
  std::vector<TensorInfo> list;
  list.push_back({"token_embd.weight", "model.embed_tokens.weight", Role::kEmbedding, -1, {c.vocab_size, c.hidden_size}});
  for (int64_t layer = 0; layer < c.layers; ++layer) add_layer(c, layer, qk_permuted, list);
  list.push_back({"output_norm.weight", "model.norm.weight", Role::kNorm, -1, {c.hidden_size}, true, 0, true});
  if (!c.tied_head) list.push_back({"output.weight", "lm_head.weight", Role::kHead, -1, {c.vocab_size, c.hidden_size}});
  return list;
}

const tensor::NamedTensor* find_tensor(const tensor::Checkpoint& checkpoint, const TensorInfo& info) {
  return checkpoint.find(checkpoint.kind == tensor::CheckpointKind::kGguf ? info.gguf_name : info.hf_name);
}

DecoderBuilder::DecoderBuilder(const ModelConfig& config, const tensor::Checkpoint& checkpoint,
                               const std::vector<TensorInfo>& tensors, const Family::GraphOptions& options)
    : config_(config), checkpoint_(checkpoint), options_(options), graph_(config.family) {
  for (const TensorInfo& info : tensors)
    if (const tensor::NamedTensor* tensor = find_tensor(checkpoint, info)) tensors_.emplace(info.gguf_name, tensor);
  batch_ = ir::Dim::sym(graph_.symbol("batch"));
  sequence_ = ir::Dim::sym(graph_.symbol("sequence"));
  input_ids_ = graph_.add_input("input_ids", ir::DType::kI64, {batch_, sequence_});
  position_ids_ = graph_.add_input("position_ids", ir::DType::kI64, {batch_, sequence_});
  if (options_.with_cache) past_ = ir::Dim::sym(graph_.symbol("past"));
}

bool DecoderBuilder::has(const std::string& gguf_name) const { return tensors_.count(gguf_name) != 0; }

const tensor::NamedTensor& DecoderBuilder::tensor(const std::string& gguf_name) const {
  const auto found = tensors_.find(gguf_name);
  if (found == tensors_.end())
    fail(ErrorKind::kBadInput, "[models] {}: tensor '{}' is missing", checkpoint_.source_name(), gguf_name);
  return *found->second;
}

ValueId DecoderBuilder::weight(const std::string& gguf_name) {
  if (const ValueId known = graph_.find_value(gguf_name); known != ir::kNoValue) return known;
  const tensor::NamedTensor& named = tensor(gguf_name);
  const tensor::TensorView& view = named.view;
  ir::Constant constant = stored_constant(named, view.shape.size() == 2);
  if (view.shape.size() == 2)
    return graph_.add_constant(gguf_name, ir::DType::kF32, {view.shape[1], view.shape[0]}, std::move(constant));
  if (view.format != tensor::FormatId::kF32) {  // norms and biases are small: kernels meet them as F32 only
    constant = ir::constant_of_floats(tensor::decode(view));
    constant.source = named.name;
  }
  return graph_.add_constant(gguf_name, ir::DType::kF32, view.shape, std::move(constant));
}

ValueId DecoderBuilder::ints(const std::string& name, std::vector<int64_t> values) {
  return graph_.add_constant(name, ir::DType::kI64, {static_cast<int64_t>(values.size())}, ir::constant_of_ints(values));
}

ValueId DecoderBuilder::embed() {
  const tensor::NamedTensor& table = tensor("token_embd.weight");
  ir::Constant constant = stored_constant(table, false);
  const ValueId rows = graph_.add_constant("token_embd.weight", ir::DType::kF32, table.view.shape, std::move(constant));
  return graph_.add("Gather", "embedding", {rows, input_ids_}, {{"axis", int64_t{0}}});
}

ValueId DecoderBuilder::norm(ValueId x, const std::string& name) {
  return graph_.add("RMSNormalization", name, {x, weight(name + ".weight")},
                    {{"axis", int64_t{-1}}, {"epsilon", config_.norm_epsilon}});
}

ValueId DecoderBuilder::linear(ValueId x, const std::string& name) {
  const ValueId product = graph_.add("MatMul", name, {x, weight(name + ".weight")});
  if (!has(name + ".bias")) return product;
  return graph_.add("Add", name + ".biased", {product, weight(name + ".bias")});
}

std::pair<ValueId, ValueId> DecoderBuilder::tables() {
  if (cos_ != ir::kNoValue) return {cos_, sin_};
  std::vector<float> factors;
  if (const auto found = tensors_.find("rope_freqs.weight"); found != tensors_.end())
    factors = tensor::decode(found->second->view);
  const std::vector<double> frequencies = rope_frequencies(config_, factors);
  const int64_t rows =
      options_.max_context > 0 ? options_.max_context : std::min(config_.context_length, kMaxDefaultRows);
  RopeTables tables = rope_tables(frequencies, rows);
  const auto width = static_cast<int64_t>(frequencies.size());
  cos_ = graph_.add_constant("rope.cos", ir::DType::kF32, {rows, width}, std::move(tables.cos));
  sin_ = graph_.add_constant("rope.sin", ir::DType::kF32, {rows, width}, std::move(tables.sin));
  return {cos_, sin_};
}

ValueId DecoderBuilder::rotate(ValueId x, int64_t heads, const std::string& name) {
  const auto [cos, sin] = tables();
  return graph_.add("RotaryEmbedding", name, {x, cos, sin, position_ids_},
                    {{"num_heads", heads}, {"interleaved", int64_t{config_.rope_interleaved}}});
}

ValueId DecoderBuilder::attention(ValueId q, ValueId k, ValueId v, int64_t layer, int64_t sliding_window, double scale) {
  std::vector<std::pair<std::string, ir::Attribute>> attributes{
      {"q_num_heads", config_.heads}, {"kv_num_heads", config_.kv_heads}, {"is_causal", int64_t{1}}};
  if (scale != 0) attributes.emplace_back("scale", scale);
  if (sliding_window > 0) attributes.emplace_back("sliding_window", sliding_window);
  const std::string name = fmt::format("blk.{}.attention", layer);
  if (!options_.with_cache) return graph_.add("Attention", name, {q, k, v}, std::move(attributes));

  const ir::Shape cache{batch_, ir::Dim::of(config_.kv_heads), past_, ir::Dim::of(config_.head_dim)};
  const ValueId past_key = graph_.add_input(fmt::format("past_key_{}", layer), ir::DType::kF32, cache);
  const ValueId past_value = graph_.add_input(fmt::format("past_value_{}", layer), ir::DType::kF32, cache);
  const std::vector<ValueId> out =
      graph_.add_node("Attention", name, {q, k, v, ir::kNoValue, past_key, past_value}, std::move(attributes),
                      {name, fmt::format("present_key_{}", layer), fmt::format("present_value_{}", layer)});
  graph_.add_state(fmt::format("key_{}", layer), past_key, out[1], 2);
  graph_.add_state(fmt::format("value_{}", layer), past_value, out[2], 2);
  return out[0];
}

ValueId DecoderBuilder::self_attention(ValueId x, int64_t layer) {
  const std::string blk = fmt::format("blk.{}.", layer);
  const ValueId q = linear(x, blk + "attn_q"), k = linear(x, blk + "attn_k"), v = linear(x, blk + "attn_v");
  const ValueId q_at = rotate(q, config_.heads, blk + "rope_q"), k_at = rotate(k, config_.kv_heads, blk + "rope_k");
  return linear(attention(q_at, k_at, v, layer, config_.sliding_window), blk + "attn_output");
}

ValueId DecoderBuilder::gated_mlp(ValueId x, int64_t layer, const char* activation) {
  const std::string blk = fmt::format("blk.{}.", layer);
  const ValueId gate = graph_.add(activation, blk + "ffn_act", {linear(x, blk + "ffn_gate")});
  const ValueId up = linear(x, blk + "ffn_up");
  return linear(graph_.add("Mul", blk + "ffn_mul", {gate, up}), blk + "ffn_down");
}

void DecoderBuilder::finish(ValueId x) {
  if (options_.select_rows) {  // flat positions batch * sequence; the head is the widest product of all
    const ir::Dim rows = ir::Dim::sym(graph_.symbol("rows"));
    const ValueId wanted = graph_.add_input("logit_rows", ir::DType::kI64, {rows});
    const ValueId flat = graph_.add("Reshape", "flat", {x, ints("flat.shape", {-1, config_.hidden_size})});
    x = graph_.add("Gather", "selected", {flat, wanted}, {{"axis", int64_t{0}}});
  }
  x = norm(x, "output_norm");
  if (!config_.tied_head) {
    graph_.add_output(graph_.add("MatMul", "logits", {x, weight("output.weight")}));
    return;
  }
  // Tied: the embedding's bytes again, as a matrix [hidden, vocab].
  const tensor::NamedTensor& table = tensor("token_embd.weight");
  ir::Constant constant = stored_constant(table, true);
  const ValueId head = graph_.add_constant("output.weight", ir::DType::kF32, {config_.hidden_size, config_.vocab_size},
                                           std::move(constant));
  graph_.add_output(graph_.add("MatMul", "logits", {x, head}));
}

}  // namespace hone::models
