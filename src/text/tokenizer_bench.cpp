// Encoding speed of whole tokenizers. HONE_BENCH_TOKENIZERS and HONE_BENCH_TEXTS list files, separated by
// ':'; bench/tokenizers.py sets them and compares with the Python packages.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <sstream>

#include "base/file.h"
#include "text/tokenizer.h"

namespace hone::text {
namespace {

std::vector<std::filesystem::path> files_of(const char* variable) {
  std::vector<std::filesystem::path> files;
  const char* list = std::getenv(variable);
  std::istringstream in(list ? list : "");
  for (std::string file; std::getline(in, file, ':');)
    if (!file.empty()) files.emplace_back(file);
  return files;
}

// One call over the whole text.
void encode_text(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode(text, {.add_special = false}));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}

void register_all() {
  for (const auto& file : files_of("HONE_BENCH_TOKENIZERS")) {
    const std::string bytes = read_text_file(file);
    const std::shared_ptr<const Tokenizer> tokenizer =
        file.extension() == ".model" ? tokenizer_from_sentencepiece(bytes) : tokenizer_from_json(bytes);
    for (const auto& text_file : files_of("HONE_BENCH_TEXTS")) {
      const auto text = std::make_shared<const std::string>(read_text_file(text_file));
      benchmark::RegisterBenchmark((file.string() + "|" + text_file.string()).c_str(),
                                   [=](benchmark::State& state) { encode_text(state, *tokenizer, *text); });
    }
  }
}

[[maybe_unused]] const bool kRegistered = (register_all(), true);

}  // namespace
}  // namespace hone::text
