// What `hone bench` prints for people.
#pragma once

#include <string>

#include "evaluate/speed.h"

namespace hone::app {

// fresh_seconds: of fresh processes from start to first token; null when that was not asked for.
std::string bench_text(const evaluate::SpeedResult& result, const evaluate::Sample* fresh_seconds);

}  // namespace hone::app
