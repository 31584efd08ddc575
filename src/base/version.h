// The version of hone; CMakeLists.txt says the same number.
#pragma once

namespace hone {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace hone
