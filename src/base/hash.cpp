#include "base/hash.h"

#include <openssl/evp.h>

#include "base/error.h"
#include "base/file.h"

namespace hone {

std::string sha256_hex(std::span<const std::byte> bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &length, EVP_sha256(), nullptr) != 1)
    fail(ErrorKind::kResource, "[hash] OpenSSL could not compute SHA-256");
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

std::string sha256_hex_file(const std::filesystem::path& path) { return sha256_hex(MappedFile::open(path)->bytes()); }

}  // namespace hone
