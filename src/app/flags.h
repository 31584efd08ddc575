// Options that several verbs share.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "exec/device.h"
#include "generate/sampler.h"
#include "tensor/quant_format.h"

namespace CLI {
class App;
}

namespace hone::app {

// "--threads"; the device comes with as many.
struct DeviceFlags {
  int threads = 0;
  void add(CLI::App& command);
  // exact: activations are not rounded, for verbs that measure a file.
  std::unique_ptr<exec::Device> make(bool exact = false) const;
};

// "--cache f16|q8_0|f32": the storage of the KV cache.
struct CacheFlag {
  std::string name = "f16";
  void add(CLI::App& command);
  tensor::FormatId format() const;
};

// Adds the sampling options; defaults are those of generate::SamplingOptions.
void add_sampling_flags(CLI::App& command, generate::SamplingOptions& sampling);

// Error(kUsage) names the value and what is possible.
tensor::FormatId parse_format(const std::string& name);
// F32, F16 or BF16.
tensor::FormatId parse_plain_format(const std::string& name);

}  // namespace hone::app
