// Decoder building blocks over the IR.
#include "models/decoder_blocks.h"

#include <algorithm>

#include "base/error.h"
#include "models/rope.h"

namespace hone::models {

namespace {

// Rows of the rotary tables when the caller names no context: what a checkpoint claims is not memory.
constexpr int64_t kMaxDefaultRows = 131072;

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

DecoderBuilder::DecoderBuilder(const ModelConfig& config, const tensor::Checkpoint& checkpoint,
                               const std::vector<TensorInfo>& tensors, const Family::GraphOptions& options)
    : config_(config), checkpoint_(checkpoint), options_(options), graph_(config.family) {
  for (const TensorInfo& info : tensors)
    if (const tensor::NamedTensor* tensor = find_tensor(checkpoint, info)) {
      tensors_.emplace(info.gguf_name, tensor);
      if (info.gguf_offset != 0 && checkpoint.kind != tensor::CheckpointKind::kGguf)
        offsets_.emplace(info.gguf_name, info.gguf_offset);
    }
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
  const auto offset = offsets_.find(gguf_name);
  if (view.format != tensor::FormatId::kF32 || offset != offsets_.end()) {  // small, and kernels meet them as F32 only
    std::vector<float> values = tensor::decode(view);
    if (offset != offsets_.end())
      for (float& value : values) value += offset->second;
    constant = ir::constant_of_floats(values);
    constant.source = named.name;
  }
  return graph_.add_constant(gguf_name, ir::DType::kF32, view.shape, std::move(constant));
}

ValueId DecoderBuilder::ints(const std::string& name, std::vector<int64_t> values) {
  return graph_.add_constant(name, ir::DType::kI64, {static_cast<int64_t>(values.size())}, ir::constant_of_ints(values));
}

ValueId DecoderBuilder::number(const std::string& name, double value) {
  const float single = static_cast<float>(value);
  return graph_.add_constant(name, ir::DType::kF32, {}, ir::constant_of_floats({&single, 1}));
}

std::vector<ValueId> DecoderBuilder::split(ValueId x, const std::string& name, const std::vector<std::string>& parts,
                                           std::vector<int64_t> sizes) {
  return graph_.add_node("Split", name, {x, ints(name + ".sizes", std::move(sizes))}, {{"axis", int64_t{-1}}}, parts);
}

ValueId DecoderBuilder::embed() {
  const tensor::NamedTensor& table = tensor("token_embd.weight");
  ir::Constant constant = stored_constant(table, false);
  const ValueId rows = graph_.add_constant("token_embd.weight", ir::DType::kF32, table.view.shape, std::move(constant));
  const bool scaled = config_.embedding_scale != 1;
  const ValueId x = graph_.add("Gather", scaled ? "embedding.rows" : "embedding", {rows, input_ids_}, {{"axis", int64_t{0}}});
  return scaled ? graph_.add("Mul", "embedding", {x, number("embedding.scale", config_.embedding_scale)}) : x;
}

ValueId DecoderBuilder::norm(ValueId x, const std::string& name) {
  return graph_.add("RMSNormalization", name, {x, weight(name + ".weight")},
                    {{"axis", int64_t{-1}}, {"epsilon", config_.norm_epsilon}});
}

ValueId DecoderBuilder::norm_if_any(ValueId x, const std::string& name) {
  return has(name + ".weight") ? norm(x, name) : x;
}

// [batch, sequence, heads * D] seen as [batch, sequence, heads, D] and back; no bytes move.
ValueId DecoderBuilder::head_norm(ValueId x, int64_t heads, const std::string& name) {
  if (!has(name + ".weight")) return x;
  const int64_t width = config_.head_dim;
  const ValueId split = graph_.add("Reshape", name + ".heads", {x, ints(name + ".heads.shape", {0, 0, heads, width})});
  return graph_.add("Reshape", name + ".flat", {norm(split, name), ints(name + ".flat.shape", {0, 0, heads * width})});
}

ValueId DecoderBuilder::linear(ValueId x, const std::string& name) {
  const ValueId product = graph_.add("MatMul", name, {x, weight(name + ".weight")});
  if (!has(name + ".bias")) return product;
  return graph_.add("Add", name + ".biased", {product, weight(name + ".bias")});
}

DecoderBuilder::Tables DecoderBuilder::add_tables(const std::string& name, const std::vector<double>& frequencies,
                                                  double factor) {
  const int64_t rows =
      options_.max_context > 0 ? options_.max_context : std::min(config_.context_length, kMaxDefaultRows);
  RopeTables tables = rope_tables(frequencies, rows, factor);
  const auto width = static_cast<int64_t>(frequencies.size());
  return {graph_.add_constant(name + ".cos", ir::DType::kF32, {rows, width}, std::move(tables.cos)),
          graph_.add_constant(name + ".sin", ir::DType::kF32, {rows, width}, std::move(tables.sin))};
}

const DecoderBuilder::Tables& DecoderBuilder::tables(bool local) {
  if (local) {
    if (!local_tables_) local_tables_ = add_tables("rope.local", local_rope_frequencies(config_), 1);
    return *local_tables_;
  }
  if (tables_) return *tables_;
  std::vector<float> factors;
  if (const auto found = tensors_.find("rope_freqs.weight"); found != tensors_.end())
    factors = tensor::decode(found->second->view);
  if (config_.rope_scaling == RopeScaling::kLongRope)
    factors = longrope_factors(config_, options_.max_context > 0 ? options_.max_context : config_.context_length);
  tables_ = add_tables("rope", rope_frequencies(config_, factors), config_.rope_attention_factor);
  return *tables_;
}

ValueId DecoderBuilder::rotate(ValueId x, int64_t heads, int64_t layer, const std::string& name) {
  const auto [cos, sin] = tables(config_.rope_local_theta > 0 && config_.slides(layer));
  std::vector<std::pair<std::string, ir::Attribute>> attributes{{"num_heads", heads},
                                                                {"interleaved", int64_t{config_.rope_interleaved}}};
  if (config_.rotary_width() != config_.head_dim) attributes.emplace_back("rotary_embedding_dim", config_.rotary_width());
  return graph_.add("RotaryEmbedding", name, {x, cos, sin, position_ids_}, std::move(attributes));
}

ValueId DecoderBuilder::attention(ValueId q, ValueId k, ValueId v, int64_t layer) {
  std::vector<std::pair<std::string, ir::Attribute>> attributes{
      {"q_num_heads", config_.heads}, {"kv_num_heads", config_.kv_heads}, {"is_causal", int64_t{1}}};
  if (config_.attention_scale > 0) attributes.emplace_back("scale", config_.attention_scale);
  if (config_.attention_softcap > 0) attributes.emplace_back("softcap", config_.attention_softcap);
  if (config_.slides(layer)) attributes.emplace_back("sliding_window", config_.sliding_window);
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
  ValueId q, k, v;
  if (has(blk + "attn_qkv.weight")) {
    const int64_t wide = config_.heads * config_.head_dim, narrow = config_.kv_heads * config_.head_dim;
    const std::vector<ValueId> parts = split(linear(x, blk + "attn_qkv"), blk + "qkv", {blk + "q", blk + "k", blk + "v"},
                                             {wide, narrow, narrow});
    q = parts[0], k = parts[1], v = parts[2];
  } else {
    q = linear(x, blk + "attn_q"), k = linear(x, blk + "attn_k"), v = linear(x, blk + "attn_v");
  }
  q = rotate(head_norm(q, config_.heads, blk + "attn_q_norm"), config_.heads, layer, blk + "rope_q");
  k = rotate(head_norm(k, config_.kv_heads, blk + "attn_k_norm"), config_.kv_heads, layer, blk + "rope_k");
  return attention(q, k, v, layer);
}

ValueId DecoderBuilder::gated_mlp(ValueId x, int64_t layer) {
  const std::string blk = fmt::format("blk.{}.", layer);
  ValueId gate, up;
  if (has(blk + "ffn_gate.weight")) {
    gate = linear(x, blk + "ffn_gate"), up = linear(x, blk + "ffn_up");
  } else {
    const std::vector<ValueId> parts = split(linear(x, blk + "ffn_up"), blk + "gate_up", {blk + "gate", blk + "up"},
                                             {config_.ffn_size, config_.ffn_size});
    gate = parts[0], up = parts[1];
  }
  const bool silu = config_.activation == Activation::kSilu;
  gate = silu ? graph_.add("Swish", blk + "ffn_act", {gate})
              : graph_.add("Gelu", blk + "ffn_act", {gate}, {{"approximate", std::string("tanh")}});
  return linear(graph_.add("Mul", blk + "ffn_mul", {gate, up}), blk + "ffn_down");
}

// Tied: the embedding's bytes again, as a matrix [hidden, vocab].
ValueId DecoderBuilder::head_weight() {
  if (!config_.tied_head) return weight("output.weight");
  return graph_.add_constant("output.weight", ir::DType::kF32, {config_.hidden_size, config_.vocab_size},
                             stored_constant(tensor("token_embd.weight"), true));
}

ValueId DecoderBuilder::select(ValueId x, const std::string& name) {
  if (logit_rows_ == ir::kNoValue)  // flat positions batch * sequence
    logit_rows_ = graph_.add_input("logit_rows", ir::DType::kI64, {ir::Dim::sym(graph_.symbol("rows"))});
  const int64_t width = graph_.value(x).shape.back().size;
  const ValueId flat = graph_.add("Reshape", name + ".flat", {x, ints(name + ".flat.shape", {-1, width})});
  return graph_.add("Gather", name, {flat, logit_rows_}, {{"axis", int64_t{0}}});
}

void DecoderBuilder::finish(ValueId x) {
  if (options_.select_rows && logit_rows_ == ir::kNoValue) x = select(x, "selected");  // the head is the widest product of all
  x = norm(x, "output_norm");
  const double cap = config_.logit_softcap;
  ValueId logits = graph_.add("MatMul", cap > 0 ? "logits.open" : "logits", {x, head_weight()});
  if (cap > 0) {
    const ValueId limit = number("logits.cap", cap);
    logits = graph_.add("Tanh", "logits.tanh", {graph_.add("Div", "logits.share", {logits, limit})});
    logits = graph_.add("Mul", "logits", {logits, limit});
  }
  graph_.add_output(logits);
}

ir::Graph sequential_decoder(const ModelConfig& config, const tensor::Checkpoint& checkpoint,
                             const std::vector<TensorInfo>& tensors, const Family::GraphOptions& options) {
  DecoderBuilder b(config, checkpoint, tensors, options);
  ValueId x = b.embed();
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const std::string blk = fmt::format("blk.{}.", layer);
    ValueId attended = b.self_attention(b.norm(x, blk + "attn_norm"), layer);
    if (options.select_rows && options.early_rows && layer + 1 == config.layers) {
      x = b.select(x, "selected");
      attended = b.select(attended, "selected.attention");
    }
    x = b.add(x, b.norm_if_any(b.attention_output(attended, layer), blk + "post_attention_norm"), blk + "attn_residual");
    const ValueId mixed = b.gated_mlp(b.norm(x, blk + "ffn_norm"), layer);
    x = b.add(x, b.norm_if_any(mixed, blk + "post_ffw_norm"), blk + "ffn_residual");
  }
  b.finish(x);
  return b.take();
}

}  // namespace hone::models
