// The CPU backend: exec::Device over the kernels module and a thread pool.
#pragma once

#include <memory>

#include "exec/device.h"

namespace hone::backends {

// threads 0: one per usable core.
std::unique_ptr<exec::Device> make_cpu_device(int threads = 0);

}  // namespace hone::backends
