// Every code point through every component that looks at classes of characters, against the package
// tokenizers (tests/tools/make_unicode_fixture.py).
#include "text/unicode.h"

#include <set>

#include "text/pipeline.h"
#include "text/test_support.h"

namespace hone::text {
namespace {

using namespace testing;

constexpr uint32_t kBlock = 0x1000;

uint32_t crc32(std::string_view bytes) {
  uint32_t crc = 0xFFFFFFFFu;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

std::vector<uint32_t> block_points(uint32_t begin) {
  std::vector<uint32_t> points;
  for (uint32_t c = begin; c < begin + kBlock; ++c)
    if (c < 0xD800 || c >= 0xE000) points.push_back(c);
  return points;
}

std::string hex(uint32_t value) {
  return fmt::format("{:X}", value);
}

// One character per point: '1' where a piece begins or ends at it, or it is gone.
std::string bits(const PreTokenizer& pre, const std::vector<uint32_t>& points, char between) {
  Pieces pieces;
  std::vector<size_t> at;
  for (const uint32_t c : points) {
    pieces.buffer += between;
    at.push_back(pieces.buffer.size());
    append_utf8(pieces.buffer, c);
  }
  pieces.buffer += between;
  pieces.spans = {{0, pieces.buffer.size()}};
  pre.apply(pieces);
  std::set<size_t> begins, ends;
  for (const Span& s : pieces.spans) {
    begins.insert(s.begin);
    ends.insert(s.end);
  }
  std::string out;
  for (const size_t position : at) out += begins.contains(position) || ends.contains(position) ? '1' : '0';
  return out;
}

TEST(UnicodeClasses, EveryCodePointEqualsThePackageTokenizers) {
  const Json fixture = read_json(source_dir() / "tests/data/text/unicode.json");
  ASSERT_GT(fixture.size(), 25u);
  start_regex_budget(64 << 20);
  for (const auto& [name, entry] : fixture.items()) {
    const auto expected = [&](uint32_t begin) -> std::optional<uint32_t> {
      const auto it = entry["blocks"].find(hex(begin));
      if (it == entry["blocks"].end()) return std::nullopt;
      return it->get<uint32_t>();
    };
    std::unique_ptr<PreTokenizer> pre;
    std::unique_ptr<Normalizer> normalizer;
    if (entry.contains("pre_tokenizer"))
      pre = make_pre_tokenizer(Doc::parse(entry["pre_tokenizer"].dump()));
    else
      normalizer = make_normalizer(Doc::parse(entry["normalizer"].dump()));
    for (uint32_t begin = 0; begin < 0x110000; begin += kBlock) {
      const auto points = block_points(begin);
      if (points.empty()) continue;
      std::optional<uint32_t> got;
      if (pre) {
        const std::string row = bits(*pre, points, entry["pre_tokenizer"]["type"] == "Split" ? '\x01' : 'x');
        if (row.find('1') != std::string::npos) got = crc32(row);
      } else {
        std::string before, after;
        for (const uint32_t c : points) {
          std::string line;
          if (name != "Strip") line += 'x';
          append_utf8(line, c);
          if (name != "Strip") line += '\n';
          before += line;
          normalizer->apply(line);
          after += line;
        }
        if (before != after) got = crc32(after);
      }
      EXPECT_EQ(got, expected(begin)) << name << " in the block at U+" << hex(begin);
    }
  }
}

}  // namespace
}  // namespace hone::text
