// Changes of storage format that lose nothing: codes, scales and zero points rearranged, every number the
// same, or a refusal that says why. Between the block formats of GGUF and the grouped formats of other tools.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "tensor/grouped.h"
#include "tensor/tensor.h"

namespace hone::tensor {

// Kinds of files, by what their quantized tensors can be.
enum class Container : uint8_t { kGguf, kMlx, kCompressedTensors, kGptq };
const char* container_name(Container container);
// Whether such files can hold a quantized tensor in this format as it is.
bool carries(Container container, FormatId format);

// The view's numbers in `target`, exactly; dst is format_bytes(target, elements) long, or empty to only find
// out. False, and why in *reason, when a number cannot be held; dst is then unspecified. A tensor in the
// target format is copied. Exact means: decoding gives the same F32 values. Going back to the format that the
// tensor had gives the same bytes, with two exceptions: the scale of a group whose codes are all 0 may become
// 0 (it multiplies nothing), and zero points that moved into the codes come back as the nearest that fit.
bool transcode(const TensorView& view, FormatId target, std::span<std::byte> dst,
               std::string* reason = nullptr);
// The format with the fewest bits that the container carries and that holds the view exactly; the view's own
// where the container carries it. Reads the whole tensor, once for each candidate that is not ruled out
// early.
std::optional<FormatId> exact_target(const TensorView& view, Container container,
                                     std::string* reason = nullptr);
// The grouped layout that says the same as a format of the table: its own for a grouped row, the one that
// GGUF's simple formats correspond to (Q4_0: 4 bits, groups of 32, F16, symmetric); nothing for others.
std::optional<GroupedLayout> equivalent_layout(FormatId format);

}  // namespace hone::tensor
