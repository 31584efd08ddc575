// What --requantize means where groups are written: "4bit", "INT4_G32", "mxfp4", or a full row name of the
// format table.
#pragma once

#include <optional>
#include <string>

#include "tensor/grouped.h"

namespace hone::app {

// What a target container gives to a spec that leaves something open.
struct GroupDefaults {
  const char* container;  // for messages: "MLX"
  uint16_t group = 64;
  tensor::ScaleType scale = tensor::ScaleType::kF16;
  tensor::ZeroKind zero = tensor::ZeroKind::kBias;
};

// "<bits>", "<bits>bit", "INT<bits>", each with "_G<group>" and "_SYM", "_BIAS" or "_ZERO" after it in any
// order; "FP8", "MXFP4", "MXFP8", "NVFP4", "NF4"; or the name of a grouped row. Case does not matter, '-'
// counts as '_'. Error(kUsage) names the spec and what is possible.
tensor::FormatId parse_group_format(const std::string& spec, const GroupDefaults& defaults);

}  // namespace hone::app
