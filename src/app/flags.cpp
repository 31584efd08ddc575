#include "app/flags.h"

#include <CLI/CLI.hpp>

#include "app/validators.h"
#include "backends/cpu/cpu_device.h"
#include "base/cpu.h"
#include "base/error.h"

namespace hone::app {

using tensor::FormatId;

void DeviceFlags::add(CLI::App& command) {
  command.add_option("-t,--threads", threads, "Threads; one per usable core unless given")
      ->check(between(1, 1024))
      ->type_name("N");
}

std::unique_ptr<exec::Device> DeviceFlags::make(bool exact) const {
  active_isa();  // a wrong HONE_ISA is an error before any work
  return backends::make_cpu_device({.threads = threads, .exact = exact});
}

void CacheFlag::add(CLI::App& command) {
  command.add_option("--cache", name, "Storage of the KV cache: f16, q8_0 or f32")
      ->type_name("FORMAT")
      ->capture_default_str();
}

FormatId CacheFlag::format() const {
  const auto* format = tensor::find_format(name);
  if (!format ||
      (format->id != FormatId::kF16 && format->id != FormatId::kQ8_0 && format->id != FormatId::kF32))
    fail(ErrorKind::kUsage, "--cache {}: the KV cache is stored as f16, q8_0 or f32", name);
  return format->id;
}

void add_sampling_flags(CLI::App& command, generate::SamplingOptions& s) {
  const auto number = [&](const char* name, auto& value, const char* help) {
    command.add_option(name, value, help)->type_name("X")->capture_default_str()->group("Sampling");
  };
  number("--temperature,--temp", s.temperature, "0 always takes the most likely token");
  number("--top-k", s.top_k, "Keep the k most likely tokens; 0: all");
  number("--top-p", s.top_p, "Keep the most likely tokens that add up to p; 1: all");
  number("--min-p", s.min_p, "Drop tokens below this share of the most likely one; 0: none");
  number("--typical", s.typical_p, "Locally typical sampling; 1: off");
  number("--repeat-penalty", s.repetition_penalty, "Divides logits of recent tokens; 1: off");
  number("--presence-penalty", s.presence_penalty, "Subtracted from logits of recent tokens");
  number("--frequency-penalty", s.frequency_penalty, "Subtracted per occurrence among recent tokens");
  number("--penalty-window", s.penalty_window, "Tokens that penalties look back at; -1: all");
  number("--seed", s.seed, "Same seed and threads, same text");
}

FormatId parse_format(const std::string& name) {
  if (const auto* format = tensor::find_format(name)) return format->id;
  std::string known;
  for (const auto& format : tensor::all_formats())
    if (format.encode && !format.activation_only && format.gguf_type >= 0)
      known += (known.empty() ? "" : ", ") + std::string(format.name);
  fail(ErrorKind::kUsage, "'{}' is no storage format; known are {}", name, known);
}

FormatId parse_plain_format(const std::string& name) {
  const auto* format = tensor::find_format(name);
  if (format &&
      (format->id == FormatId::kF32 || format->id == FormatId::kF16 || format->id == FormatId::kBF16))
    return format->id;
  fail(ErrorKind::kUsage, "'{}' is no plain format; choose F32, F16 or BF16", name);
}

}  // namespace hone::app
