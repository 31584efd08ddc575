// The CPU backend: exec::Device over the kernels module and a thread pool.
#pragma once

#include <memory>

#include "exec/device.h"

namespace hone::backends {

struct CpuOptions {
  int threads = 0;  // 0: one per usable core
  // Prompts multiply in F32 whatever the weights are stored in, so that what is measured is the file and not
  // the runtime's rounding of activations; slower.
  bool exact = false;
  // Neighbouring nodes run as one kernel where a pattern fits. Exact devices never group: every value of the
  // graph is in memory, and a run can start before any node.
  bool grouped = true;
};
std::unique_ptr<exec::Device> make_cpu_device(const CpuOptions& options);
// threads 0: one per usable core.
std::unique_ptr<exec::Device> make_cpu_device(int threads = 0);

}  // namespace hone::backends
