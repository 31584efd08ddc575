#include "formats/byte_reader.h"

namespace hone::formats {

std::string printable(std::string_view text, size_t max_bytes) {
  std::string out(text.substr(0, max_bytes));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  if (text.size() <= max_bytes) return out;
  while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xC0) == 0x80)
    out.pop_back();  // no half character
  return out + "...";
}

void ByteReader::fail_truncated(uint64_t count, std::string_view what, const char* unit) const {
  fail(ErrorKind::kBadInput,
       "{} at byte {} needs {} {}, but {} bytes are left; the file is truncated or damaged, get it again",
       what, position_, count, unit, remaining());
}

}  // namespace hone::formats
