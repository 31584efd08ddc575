// SHA-256, by OpenSSL.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace hone {

std::string sha256_hex(std::span<const std::byte> bytes);
std::string sha256_hex_file(const std::filesystem::path& path);  // streamed

}  // namespace hone
