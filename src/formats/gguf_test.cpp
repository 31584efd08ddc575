// GGUF: files of the gguf package are read and written back byte for byte; damaged ones are refused.
#include "formats/gguf.h"

#include <chrono>
#include <fstream>

#include "formats/test_support.h"

namespace hone::formats {
namespace {

using namespace test;
using tensor::Checkpoint;
using tensor::FormatId;
using tensor::Metadata;

const std::filesystem::path kFolder = kData / "gguf";

TEST(Gguf, ReadsFilesOfTheReferencePackage) {
  const Json expected = listing("gguf");
  for (const auto& [name, list] : expected.items()) {
    if (name == "big_endian.gguf" || name == "split.gguf") continue;
    SCOPED_TRACE(name);
    expect_listed(read_gguf(kFolder / name), list);
  }
  for (int part = 1; part <= 3; ++part) {
    const auto all = read_gguf(kFolder / fmt::format("split-0000{}-of-00003.gguf", part));
    expect_listed(all, expected.at("split.gguf"));
    EXPECT_EQ(all.files.size(), 3u);
    EXPECT_EQ(all.metadata.find("split.count"), nullptr);
    EXPECT_EQ(all.metadata.get_string("general.architecture"), "llama");
  }
}

TEST(Gguf, ReadsEveryMetadataType) {
  const Metadata m = read_gguf(kFolder / "all_types.gguf").metadata;
  EXPECT_EQ(std::get<uint8_t>(*m.find("t.u8")), 200);
  EXPECT_EQ(std::get<int8_t>(*m.find("t.i8")), -100);
  EXPECT_EQ(std::get<uint16_t>(*m.find("t.u16")), 60000);
  EXPECT_EQ(std::get<int16_t>(*m.find("t.i16")), -30000);
  EXPECT_EQ(std::get<uint32_t>(*m.find("t.u32")), 4000000000u);
  EXPECT_EQ(std::get<int32_t>(*m.find("t.i32")), -2000000000);
  EXPECT_EQ(std::get<float>(*m.find("t.f32")), 1.5f);
  EXPECT_EQ(std::get<bool>(*m.find("t.bool")), true);
  EXPECT_EQ(std::get<std::string>(*m.find("t.string")), "h\u00f6ne \u2713");
  EXPECT_EQ(std::get<uint64_t>(*m.find("t.u64")), (uint64_t{1} << 63) + 5);
  EXPECT_EQ(std::get<int64_t>(*m.find("t.i64")), -(int64_t{1} << 62));
  EXPECT_EQ(std::get<double>(*m.find("t.f64")), 0.1);
  EXPECT_EQ(m.get_ints("a.bool"), (std::vector<int64_t>{1, 0, 1}));
  EXPECT_EQ(*m.find_strings("a.string"), (std::vector<std::string>{"a", "", "\u00e9"}));
  EXPECT_EQ(m.get_numbers("a.float64"), (std::vector<double>{0.25, -1e300}));
  EXPECT_EQ(m.get_numbers("a.uint64")[1], 18446744073709551616.0);
  for (const char* key : {"a.uint8", "a.int8", "a.uint16", "a.int16", "a.uint32", "a.int32", "a.int64"})
    EXPECT_EQ(m.get_ints(key).size(), 2u) << key;
}

TEST(Gguf, WritesTheSameBytesBack) {
  TemporaryDirectory out;
  for (const char* name : {"all_types.gguf", "align64.gguf", "empty.gguf"}) {
    const Checkpoint c = read_gguf(kFolder / name);
    const auto written = write_gguf(out / name, c.metadata, copies(c));
    ASSERT_EQ(written.size(), 1u);
    EXPECT_EQ(read_text_file(out / name), read_text_file(kFolder / name)) << name;
    EXPECT_EQ(gguf_file_bytes(c.metadata, copies(c)), std::filesystem::file_size(out / name)) << name;
  }
}

TEST(Gguf, AlignmentOptionIsRecordedAndUsed) {
  TemporaryDirectory out;
  const Checkpoint c = read_gguf(kFolder / "all_types.gguf");
  write_gguf(out / "a.gguf", c.metadata, copies(c), {.alignment = 256});
  const Checkpoint again = read_gguf(out / "a.gguf");
  EXPECT_EQ(again.metadata.get_int("general.alignment"), 256);
  EXPECT_EQ(std::filesystem::file_size(out / "a.gguf"), gguf_file_bytes(c.metadata, copies(c), 256));
  expect_listed(again, listing("gguf").at("all_types.gguf"));
  error_of([&] { write_gguf(out / "b.gguf", c.metadata, copies(c), {.alignment = 24}); }, ErrorKind::kUsage);
  EXPECT_EQ(out.entries(), 1u);
}

TEST(Gguf, SplitsAndJoins) {
  TemporaryDirectory out;
  const Checkpoint c = read_gguf(kFolder / "all_types.gguf");
  const uint64_t limit = 1700;
  const auto parts = write_gguf(out / "m.gguf", c.metadata, copies(c), {.max_shard_bytes = limit});
  ASSERT_GT(parts.size(), 1u);
  EXPECT_EQ(parts[1].filename(), fmt::format("m-00002-of-{:05}.gguf", parts.size()));
  EXPECT_EQ(out.entries(), parts.size());
  for (const auto& part : parts) EXPECT_LE(std::filesystem::file_size(part), limit);
  const Checkpoint joined = read_gguf(parts[1]);
  expect_listed(joined, listing("gguf").at("all_types.gguf"));
  write_gguf(out / "joined.gguf", joined.metadata, copies(joined));
  EXPECT_EQ(read_text_file(out / "joined.gguf"), read_text_file(kFolder / "all_types.gguf"));

  std::filesystem::rename(parts[1], out / "elsewhere");
  EXPECT_NE(error_of([&] { read_gguf(parts[0]); }).find("missing"), std::string::npos);
  std::filesystem::copy(parts[0], parts[1]);
  error_of([&] { read_gguf(parts[0]); });
  std::filesystem::rename(parts[0], out / "renamed.gguf");
  EXPECT_NE(error_of([&] { read_gguf(out / "renamed.gguf"); }).find("name"), std::string::npos);
}

TEST(Gguf, FailedWritesLeaveNothing) {
  TemporaryDirectory out;
  const Checkpoint c = read_gguf(kFolder / "all_types.gguf");
  auto tensors = copies(c);
  tensors.back().produce = [](std::span<std::byte>) { fail(ErrorKind::kResource, "no"); };
  error_of([&] { write_gguf(out / "a.gguf", c.metadata, tensors); }, ErrorKind::kResource);
  error_of([&] { write_gguf(out / "a.gguf", c.metadata, tensors, {.max_shard_bytes = 1}); },
           ErrorKind::kResource);
  tensors = copies(c);
  tensors.back().name = tensors.front().name;
  error_of([&] { write_gguf(out / "a.gguf", c.metadata, tensors); });
  tensors.back().name = std::string(64, 'x');
  error_of([&] { write_gguf(out / "a.gguf", c.metadata, tensors); }, ErrorKind::kUnsupported);
  tensors.back().name = "x";
  tensors.back().format = FormatId::kF8E4M3;
  error_of([&] { write_gguf(out / "a.gguf", c.metadata, tensors); }, ErrorKind::kUnsupported);
  tensors.back().format = FormatId::kQ4_K;
  tensors.back().shape = {2, 128};
  error_of([&] { write_gguf(out / "a.gguf", c.metadata, tensors); });
  EXPECT_EQ(out.entries(), 0u);
  error_of([&] { write_gguf(out / "none" / "a.gguf", c.metadata, copies(c)); }, ErrorKind::kResource);
}

TEST(Gguf, TruncationAtEveryByteIsAnError) {
  const std::string whole = read_text_file(kFolder / "all_types.gguf");
  const size_t padding = 16;  // after the last tensor; its absence is no error
  for (size_t size = 0; size + 32 < whole.size(); ++size) {
    // In a block of its own, so that a sanitizer sees every read past the end.
    const std::vector<std::byte> part(as_bytes(whole).begin(),
                                      as_bytes(whole).begin() + static_cast<std::ptrdiff_t>(size));
    error_of([&] { read_gguf_bytes(part, "part.gguf"); });
  }
  EXPECT_NO_THROW(read_gguf_bytes(as_bytes(whole).first(whole.size() - padding), "part.gguf"));
}

TEST(Gguf, EveryDamagedByteIsReadOrRefused) {
  std::string text = read_text_file(kFolder / "all_types.gguf");
  size_t refused = 0;
  for (size_t i = 0; i < text.size(); ++i)
    for (int flip : {0x01, 0x80, 0xFF}) {
      text[i] = static_cast<char>(text[i] ^ flip);
      try {
        const Checkpoint c = read_gguf_bytes(as_bytes(text), "damaged.gguf");
        for (const auto& t : c.tensors()) tensor::decode(t.view);
      } catch (const Error&) {
        ++refused;
      }
      text[i] = static_cast<char>(text[i] ^ flip);
    }
  EXPECT_GT(refused, text.size());
}

// A header built by hand.
struct Bytes {
  std::string text;
  template <typename T>
  Bytes& num(T value) {
    text.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  Bytes& str(std::string_view s) {
    num<uint64_t>(s.size());
    text += s;
    return *this;
  }
  static Bytes head(int64_t tensors, int64_t keys, uint32_t version = 3) {
    Bytes b;
    b.text = "GGUF";
    b.num(version).num(tensors).num(keys);
    return b;
  }
  Bytes& tensor(std::string_view name, std::vector<int64_t> sizes, uint32_t type, uint64_t offset) {
    str(name).num<uint32_t>(static_cast<uint32_t>(sizes.size()));
    for (int64_t s : sizes) num(s);
    return num(type).num(offset);
  }
  Bytes& data(size_t count) {
    text.resize((text.size() + 31) / 32 * 32 + count);
    return *this;
  }
  std::string refused(ErrorKind kind = ErrorKind::kBadInput) const {
    return error_of([&] { read_gguf_bytes(as_bytes(text), "bad.gguf"); }, kind);
  }
};

TEST(Gguf, HostileCountsTakeNoMemory) {
  const int64_t huge = int64_t{1} << 60;
  Bytes::head(huge, 0).refused();
  Bytes::head(0, huge).refused();
  Bytes::head(-1, 0).refused();
  Bytes::head(0, 1).num<uint64_t>(uint64_t{1} << 62).refused();
  Bytes::head(0, 1).str("k").num<uint32_t>(8).num<uint64_t>(uint64_t{1} << 62).refused();
  for (uint32_t type = 0; type <= 12; ++type)
    for (uint64_t count : {uint64_t{1} << 29, uint64_t{1} << 61, UINT64_MAX})
      if (type != 9) Bytes::head(0, 1).str("k").num<uint32_t>(9).num(type).num(count).refused();
  Bytes::head(1, 0).tensor("t", {int64_t{1} << 40, int64_t{1} << 40}, 0, 0).data(0).refused();
  Bytes::head(1, 0).tensor("t", {int64_t{1} << 61}, 0, 0).data(0).refused();
  EXPECT_NE(
      Bytes::head(1, 0).tensor("t", {1000}, 0, 0).data(4).refused().find("ends 3996 bytes past the end"),
      std::string::npos);
}

TEST(Gguf, RulesOfGgml) {
  Bytes::head(0, 2)
      .str("k")
      .num<uint32_t>(4)
      .num<uint32_t>(1)
      .str("k")
      .num<uint32_t>(4)
      .num<uint32_t>(1)
      .refused();
  Bytes::head(0, 1).str("").num<uint32_t>(4).num<uint32_t>(1).refused();
  Bytes::head(0, 1).str("k").num<uint32_t>(13).num<uint32_t>(1).refused();
  Bytes::head(0, 1).str("k").num<uint32_t>(9).num<uint32_t>(9).num<uint64_t>(0).refused(
      ErrorKind::kUnsupported);
  for (uint32_t alignment : {0u, 3u, 48u})
    Bytes::head(0, 1).str("general.alignment").num<uint32_t>(4).num(alignment).refused();
  Bytes::head(0, 1).str("general.alignment").num<uint32_t>(10).num<uint64_t>(32).refused();
  Bytes::head(2, 0).tensor("t", {8}, 0, 0).tensor("t", {8}, 0, 32).data(64).refused();
  Bytes::head(1, 0).tensor(std::string(64, 'n'), {8}, 0, 0).data(32).refused();
  Bytes::head(1, 0).tensor("t", {1, 1, 1, 1, 1}, 0, 0).data(32).refused();
  Bytes::head(1, 0).tensor("t", {-8}, 0, 0).data(32).refused();
  Bytes::head(1, 0).tensor("t", {8}, 0, 32).data(64).refused();                         // gap
  Bytes::head(2, 0).tensor("a", {8}, 0, 0).tensor("b", {8}, 0, 0).data(64).refused();   // shared
  Bytes::head(2, 0).tensor("a", {8}, 0, 32).tensor("b", {8}, 0, 0).data(64).refused();  // order
  Bytes::head(1, 0).tensor("t", {100}, 12, 0).data(320).refused();                      // block
  for (uint32_t type : {4u, 5u, 31u, 36u, 43u, 0x80000000u})
    Bytes::head(1, 0).tensor("t", {32}, type, 0).data(64).refused(ErrorKind::kUnsupported);
  Bytes::head(0, 0, 1).refused(ErrorKind::kUnsupported);
  Bytes::head(0, 0, 4).refused(ErrorKind::kUnsupported);
  EXPECT_NE(
      error_of([] { read_gguf(kFolder / "big_endian.gguf"); }, ErrorKind::kUnsupported).find("big-endian"),
      std::string::npos);
  EXPECT_NE(error_of([] { read_gguf(kData / "safetensors/unaligned.safetensors"); }).find("not a GGUF"),
            std::string::npos);
  // Control bytes of a name do not reach the terminal.
  EXPECT_EQ(Bytes::head(1, 0).tensor("a\x1b[2J\n", {-8}, 0, 0).data(32).refused().find('\x1b'),
            std::string::npos);
  // A scalar and an empty tensor are fine.
  const auto c = Bytes::head(2, 0).tensor("s", {}, 0, 0).tensor("e", {0, 4}, 0, 32).data(32);
  EXPECT_EQ(read_gguf_bytes(as_bytes(c.text), "ok").tensors().size(), 2u);
}

// 49k tokens and merges over 100 MB of weights (a hole in the file): opening costs the metadata only.
TEST(Gguf, OpensLargeFilesQuickly) {
  TemporaryDirectory out;
  Metadata m;
  std::vector<std::string> tokens, merges;
  for (int i = 0; i < 49152; ++i) {
    tokens.push_back("token" + std::to_string(i));
    merges.push_back("left" + std::to_string(i) + " right");
  }
  m.set("general.architecture", std::string("llama"));
  m.set("tokenizer.ggml.tokens", tensor::make_array(tokens));
  m.set("tokenizer.ggml.merges", tensor::make_array(merges));
  m.set("tokenizer.ggml.token_type", tensor::make_array(std::vector<int32_t>(49152, 1)));
  write_gguf(out / "big.gguf", m, {{"w", FormatId::kQ8_0, {0, 32}, [](std::span<std::byte>) {}}});
  std::string text = read_text_file(out / "big.gguf");
  const int64_t rows = 100'000'000 / 34;
  std::memcpy(text.data() + text.rfind("w\x02\0\0\0", std::string::npos, 4) + 13, &rows, 8);
  std::ofstream(out / "big.gguf", std::ios::binary) << text;
  std::filesystem::resize_file(out / "big.gguf", text.size() + rows * 34);

  const auto start = std::chrono::steady_clock::now();
  const Checkpoint c = read_gguf(out / "big.gguf");
  const double ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  EXPECT_EQ(c.tensor_bytes(), static_cast<uint64_t>(rows) * 34);
  EXPECT_EQ(c.metadata.find_strings("tokenizer.ggml.tokens")->size(), 49152u);
  RecordProperty("open_ms", std::to_string(ms));
  EXPECT_LT(ms, 500) << "expected some 10 ms; the bound only leaves room for a busy or instrumented build";
}

}  // namespace
}  // namespace hone::formats
