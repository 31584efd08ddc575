// Importance matrix files: the older binary form byte by byte, the GGUF form there and back, sums of several.
#include "formats/imatrix.h"

#include "formats/gguf.h"
#include "formats/test_support.h"

namespace hone::formats {
namespace {

using test::error_of;

// The layout of llama.cpp's save_imatrix before GGUF, built here piece by piece.
class OldFile {
 public:
  OldFile& i32(int32_t v) { return raw(&v, sizeof v); }
  OldFile& floats(std::initializer_list<float> values) {
    for (const float v : values) raw(&v, sizeof v);
    return *this;
  }
  OldFile& text(const std::string& s) { return i32(static_cast<int32_t>(s.size())), raw(s.data(), s.size()); }
  std::span<const std::byte> bytes() const { return test::as_bytes(data_); }
  std::string data_;

 private:
  OldFile& raw(const void* p, size_t n) { return data_.append(static_cast<const char*>(p), n), *this; }
};

OldFile sample() {
  OldFile f;
  f.i32(2).text("blk.0.attn_q.weight").i32(4).i32(3).floats({4, 8, 12});
  f.text("blk.0.ffn_down.weight").i32(0).i32(2).floats({0, 0});
  return f;
}

TEST(OldImatrix, ReadsEntriesAndTail) {
  OldFile f = sample();
  const ImportanceMatrix bare = parse_old_imatrix(f.bytes(), "x.dat");
  EXPECT_EQ(bare.chunks, 4);
  f.i32(7).text("wiki.txt");
  const ImportanceMatrix matrix = parse_old_imatrix(f.bytes(), "x.dat");
  EXPECT_EQ(matrix.chunks, 7);
  EXPECT_EQ(matrix.datasets, (std::vector<std::string>{"wiki.txt"}));
  const auto means = matrix.mean_squares();
  EXPECT_EQ(means.at("blk.0.attn_q.weight"), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(means.at("blk.0.ffn_down.weight"), (std::vector<float>{1, 1}));  // saw nothing: all equal
}

TEST(OldImatrix, EveryCutIsRefused) {
  OldFile f = sample();
  f.i32(7).text("wiki.txt");
  const size_t whole = sample().data_.size();
  for (size_t n = 0; n < f.data_.size(); ++n)
    if (n != whole) error_of([&] { parse_old_imatrix(f.bytes().first(n), "x.dat"); });
}

TEST(OldImatrix, RefusesNonsense) {
  error_of([] { parse_old_imatrix(OldFile().i32(0).bytes(), "x"); });
  error_of([] { parse_old_imatrix(OldFile().i32(0x7fffffff).bytes(), "x"); });
  error_of([] { parse_old_imatrix(OldFile().i32(1).i32(-1).floats({0, 0, 0}).bytes(), "x"); });
  error_of(
      [] { parse_old_imatrix(OldFile().i32(1).text("a").i32(1).i32(0x7fffffff).floats({1}).bytes(), "x"); });
  EXPECT_NE(error_of([] {
              parse_old_imatrix(OldFile().i32(1).text("a").i32(1).i32(1).floats({-1}).bytes(), "x");
            }).find("negative"),
            std::string::npos);
  EXPECT_NE(
      error_of([] {
        parse_old_imatrix(
            OldFile().i32(2).text("a").i32(1).i32(1).floats({1}).text("a").i32(1).i32(1).floats({1}).bytes(),
            "x");
      }).find("twice"),
      std::string::npos);
}

TEST(Imatrix, GgufThereAndBack) {
  ImportanceMatrix matrix;
  matrix.entries["blk.0.attn_q.weight"] = {{2, 4, 6}, {2}};
  matrix.entries["blk.0.ffn_down_exps.weight"] = {{1, 2, 3, 4, 0, 0}, {2, 1, 0}};
  matrix.datasets = {"a.txt", "b.txt"};
  matrix.chunks = 5;
  matrix.chunk_size = 256;
  test::TemporaryDirectory folder;
  write_imatrix(folder / "m.gguf", matrix);
  const ImportanceMatrix again = read_imatrix(folder / "m.gguf");
  EXPECT_EQ(again.datasets, matrix.datasets);
  EXPECT_EQ(again.chunks, 5);
  EXPECT_EQ(again.chunk_size, 256);
  EXPECT_EQ(again.mean_squares(),
            (std::map<std::string, std::vector<float>>{
                {"blk.0.attn_q.weight", {1, 2, 3}}, {"blk.0.ffn_down_exps.weight", {0.5f, 1, 3, 4, 1, 1}}}));
  EXPECT_EQ(read_gguf(folder / "m.gguf").find("blk.0.ffn_down_exps.weight.counts")->view.shape,
            (tensor::Shape{3, 1}));
  write_text_file(folder / "old.dat", sample().data_);
  EXPECT_EQ(read_imatrix(folder / "old.dat").entries.size(), 2u);
}

TEST(Imatrix, AddsRunsTogether) {
  ImportanceMatrix first, second;
  first.entries["a"] = {{2, 4}, {2}};
  second.entries["a"] = {{4, 2}, {1}};
  second.entries["b"] = {{1}, {1}};
  first.chunks = 1, second.chunks = 2;
  second.datasets = {"s"};
  first.add(second);
  EXPECT_EQ(first.mean_squares(), (std::map<std::string, std::vector<float>>{{"a", {2, 2}}, {"b", {1}}}));
  EXPECT_EQ(first.chunks, 3);
  second.entries["a"] = {{1, 2, 3}, {1}};
  EXPECT_NE(error_of([&] { first.add(second); }).find("'a'"), std::string::npos);
}

}  // namespace
}  // namespace hone::formats
