// Quantized checkpoints of other tools: MLX, GPTQ, AWQ, compressed-tensors, FP8, ModelOpt, bitsandbytes,
// BitNet. Their parts of a weight (codes, scales, zero points) become one tensor in a format of the table.
#pragma once

#include "tensor/checkpoint.h"

namespace hone::formats {

// Looks for `quantization` (MLX) and `quantization_config` in config.json, and for the older files
// quantize_config.json, quant_config.json and hf_quant_config.json among the checkpoint's texts. Where one is
// there, the parts of every quantized module become one tensor "<module>.weight" [out, in], and
// checkpoint.layout says how they lay. Error(kUnsupported) names the method or arrangement that hone cannot
// read, Error(kBadInput) sizes that contradict.
void assemble_quantized(tensor::Checkpoint& checkpoint);

}  // namespace hone::formats
