// NumPy .npy (versions 1 to 3) and uncompressed .npz.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace hone::formats {

// C or Fortran order; little-endian bool, int, uint, float types. Error(kBadInput) otherwise.
tensor::Tensor read_npy(const std::filesystem::path& path);
tensor::Tensor read_npy_bytes(std::span<const std::byte> bytes, const std::string& name);
void write_npy(const std::filesystem::path& path, const tensor::TensorView& view);
void write_npz(const std::filesystem::path& path,
               const std::vector<std::pair<std::string, tensor::TensorView>>& arrays);

}  // namespace hone::formats
