// Warnings and notes of the library, through spdlog. Silent until the application gives it a sink.
#pragma once

#include <spdlog/spdlog.h>

namespace hone {

spdlog::logger& logger();  // e.g. logger().warn("[gguf] {}: ...", path)

}  // namespace hone
