// CLI11's checks without their words in the help: the option's own text says what it takes.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace hone::app {

template <typename A, typename B>
CLI::Validator between(A low, B high) {
  using T = std::common_type_t<A, B>;
  return CLI::Range(static_cast<T>(low), static_cast<T>(high)).description("");
}
inline CLI::Validator positive() {
  return CLI::Range(std::numeric_limits<double>::min(), std::numeric_limits<double>::max()).description("");
}
inline CLI::Validator not_negative() {
  return CLI::Range(0.0, std::numeric_limits<double>::max()).description("");
}

}  // namespace hone::app
