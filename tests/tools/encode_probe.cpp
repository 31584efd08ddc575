// Encodes a raw F32 matrix with hone's encoder, for comparison with other quantizers (tests/peers/encode_test.py).
//   encode_probe FORMAT ROWS COLS X.f32 OUT [THREADS [IMPORTANCE.f32]]
// prints one line: seconds, weighted squared error.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "quant/encode.h"

namespace {

std::span<const float> floats(const hone::MappedFile& file) {
  return {reinterpret_cast<const float*>(file.bytes().data()), file.bytes().size() / sizeof(float)};
}

int run(int argc, char** argv) {
  using namespace hone;
  if (argc < 6) fail(ErrorKind::kUsage, "usage: encode_probe FORMAT ROWS COLS X.f32 OUT [THREADS [IMPORTANCE.f32]]");
  const tensor::QuantFormat* format = tensor::find_format(argv[1]);
  if (!format) fail(ErrorKind::kUsage, "unknown format {}", argv[1]);
  const size_t rows = std::stoull(argv[2]), cols = std::stoull(argv[3]);
  const auto x_file = MappedFile::open(argv[4]);
  const std::span<const float> x = floats(*x_file);
  if (x.size() != rows * cols) fail(ErrorKind::kBadInput, "{} holds {} values, not {}", argv[4], x.size(), rows * cols);
  std::vector<float> importance;
  if (argc > 7) {
    const auto file = MappedFile::open(argv[7]);
    importance.assign(floats(*file).begin(), floats(*file).end());
  }
  ThreadPool pool(argc > 6 ? std::stoi(argv[6]) : 1);
  std::vector<std::byte> encoded(rows * tensor::format_bytes(format->id, cols));
  const auto start = std::chrono::steady_clock::now();
  quant::encode_rows(format->id, x.data(), rows, cols, importance, encoded.data(), &pool);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  AtomicFile out(argv[5]);
  out.write(encoded);
  out.commit();
  std::printf("%.6f %.9g\n", seconds.count(),
              quant::weighted_error(format->id, x.data(), encoded.data(), rows, cols, importance, &pool));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const hone::Error& e) {
    std::fprintf(stderr, "encode_probe: %s\n", e.what());
    return hone::exit_code(e.kind());
  }
}
