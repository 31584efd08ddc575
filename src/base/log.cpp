#include "base/log.h"

#include <spdlog/sinks/null_sink.h>

#include <memory>

namespace hone {

spdlog::logger& logger() {
  static spdlog::logger instance("hone", std::make_shared<spdlog::sinks::null_sink_mt>());
  return instance;
}

}  // namespace hone
