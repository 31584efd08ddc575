// .npy and .npz against files of NumPy; numpy's own reading of ours is in tests/python.
#include "formats/npy.h"

#include "formats/test_support.h"

namespace hone::formats {
namespace {

using namespace test;
using tensor::FormatId;
using tensor::Shape;

const std::filesystem::path kFolder = kData / "npy";

TEST(Npy, ReadsFilesOfNumpy) {
  const std::vector<float> six = {0, 1, 2, 3, 4, 5};
  struct Case {
    const char* name;
    FormatId format;
    Shape shape;
    std::vector<float> values;
  };
  const Case cases[] = {{"f32", FormatId::kF32, {2, 3}, six},
                        {"i64_fortran", FormatId::kI64, {2, 3}, six},
                        {"bool", FormatId::kBool, {2, 3}, {1, 0, 1, 0, 1, 0}},
                        {"f16_scalar", FormatId::kF16, {}, {2.5f}},
                        {"u8_empty", FormatId::kU8, {0, 3}, {}},
                        {"version2", FormatId::kF64, {2, 3}, six}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto t = read_npy(kFolder / (std::string(c.name) + ".npy"));
    EXPECT_EQ(t.format(), c.format);
    EXPECT_EQ(t.shape(), c.shape);
    EXPECT_EQ(tensor::decode(t.view()), c.values);
  }
  EXPECT_NE(error_of([] { read_npy(kFolder / "big_endian.npy"); }).find(">f4"), std::string::npos);
}

TEST(Npy, WritesTheBytesOfNumpy) {
  TemporaryDirectory out;
  for (const char* name : {"f32.npy", "bool.npy", "f16_scalar.npy", "u8_empty.npy"}) {
    write_npy(out / name, read_npy(kFolder / name).view());
    const std::string ours = read_text_file(out / name), numpys = read_text_file(kFolder / name);
    EXPECT_EQ(ours, numpys) << name;
  }
}

TEST(Npy, DecodesWhatNumpyLacks) {
  TemporaryDirectory out;
  const uint16_t one_two[] = {0x3F80, 0x4000};
  write_npy(out / "b.npy", {FormatId::kBF16, {2}, std::as_bytes(std::span(one_two))});
  EXPECT_EQ(tensor::decode(read_npy(out / "b.npy").view()), (std::vector<float>{1, 2}));
}

TEST(Npy, DamageIsRefused) {
  const std::string whole = read_text_file(kFolder / "f32.npy");
  for (size_t size = 0; size < whole.size(); ++size)
    error_of([&] { read_npy_bytes(as_bytes(whole).first(size), "part"); });
  const auto with = [&](const std::string& dict) {
    const std::string text = std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(dict.size()) + '\0' +
                             dict + std::string(8, '\0');
    return error_of([&] { read_npy_bytes(as_bytes(text), "bad"); });
  };
  with("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}");
  with("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}");
  with("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,)}");
  with("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}");
  with("{'descr': '<f4', 'fortran_order': False}");
  with("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}");
  with("");
}

TEST(Npz, HoldsItsArrays) {
  TemporaryDirectory out;
  const auto a = read_npy(kFolder / "f32.npy");
  write_npz(out / "x.npz", {{"a", a.view()}, {"b", read_npy(kFolder / "bool.npy").view()}});
  const std::string text = read_text_file(out / "x.npz");
  EXPECT_TRUE(text.starts_with("PK\x03\x04"));
  EXPECT_NE(text.find(read_text_file(kFolder / "f32.npy")), std::string::npos);
}

}  // namespace
}  // namespace hone::formats
