// Writes files for tests/peers/formats_test.py, which reads them with the gguf, safetensors and numpy
// packages and with llama.cpp. HONE_PEER_FILES names the folder; without it there is nothing to do.
#include <cstdlib>

#include "formats/gguf.h"
#include "formats/npy.h"
#include "formats/safetensors.h"
#include "formats/test_support.h"

namespace hone::formats {
namespace {

using namespace test;
using tensor::FormatId;

TEST(Peers, WriteFilesForTheReferencePackages) {
  const char* folder = std::getenv("HONE_PEER_FILES");
  if (!folder) GTEST_SKIP() << "run by tests/peers/formats_test.py";
  const std::filesystem::path out = folder;
  const auto all = read_gguf(kData / "gguf/all_types.gguf");
  write_gguf(out / "plain.gguf", all.metadata, copies(all));
  write_gguf(out / "aligned.gguf", all.metadata, copies(all), {.alignment = 128});
  write_gguf(out / "split.gguf", all.metadata, copies(all), {.max_shard_bytes = 1800});
  write_gguf(out / "scalar.gguf", all.metadata, {{"s", FormatId::kF32, {}, [](std::span<std::byte>) {}}});

  tensor::Checkpoint c;
  read_safetensors(kData / "safetensors/all_dtypes.safetensors", c);
  write_safetensors(out / "all.safetensors", copies(c), {{"format", "pt"}, {"note", "\"quoted\" \u2713\n"}});
  write_hf_directory(out / "hf", {{"config.json", "{}"}}, copies(c), 64);

  const auto f32 = read_npy(kData / "npy/f32.npy");
  const auto scalar = read_npy(kData / "npy/f16_scalar.npy");
  write_npy(out / "f32.npy", f32.view());
  write_npz(out / "arrays.npz",
            {{"f32", f32.view()}, {"scalar", scalar.view()}, {"q8", all.find("q8_0_3d")->view}});
}

}  // namespace
}  // namespace hone::formats
