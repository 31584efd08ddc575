// What hone convert does, apart from its options: the kinds of output, and how far a written model is from
// its source.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "app/format_spec.h"
#include "base/thread_pool.h"
#include "models/model.h"
#include "tensor/transcode.h"

namespace hone::app {

// A container that convert writes; a row of the list in conversion.cpp.
struct OutputKind {
  const char* name;                         // as --to takes it
  std::optional<tensor::Container> layout;  // the quantized layout of a directory; nothing for plain ones
  bool directory = true;
  uint16_t group = 64;  // of a spec that names none
  tensor::ZeroKind zero = tensor::ZeroKind::kBias;
};

const std::vector<OutputKind>& output_kinds();
// to: a name of the list, or empty: by the name of the output. "x.gguf" is GGUF; a directory whose name has
// "mlx" or "gptq" as a word ("SmolLM2-mlx-4bit") is of that kind, any other a plain Hugging Face directory.
const OutputKind& output_kind(const std::string& to, const std::filesystem::path& output);

// Scales in the type of the model's plain tensors; F16 for a model that has no plain matrices, and for GPTQ instead of
// F32, which its loaders do not take.
tensor::ScaleType scale_type(const models::Model& model, const OutputKind& kind);

// Root of the squared error over the squares of the source, for all tensors of one class together.
struct ClassError {
  std::string name;  // "attention q"
  int tensors = 0;
  double relative = 0;
};
// Reads the written model back and holds it against the one it was made of, in the order of the layers'
// parts. Only classes that differ are listed. The numbers are those of the files, whatever wrote them.
std::vector<ClassError> conversion_errors(const models::Model& source, const std::filesystem::path& written,
                                          ThreadPool& pool);

}  // namespace hone::app
