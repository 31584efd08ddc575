# Cross-builds for 64-bit ARM Linux with Debian's g++-aarch64-linux-gnu. The libraries come from a folder that
# `scripts/setup --arm64` fills with Debian's arm64 packages (HONE_ARM64_ROOT, in the environment or as -D;
# ~/.cache/hone/arm64 when neither is given). Programs of the build, tests included, run under qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

if(NOT HONE_ARM64_ROOT)
  set(root $ENV{HOME}/.cache/hone/arm64)
  if(DEFINED ENV{HONE_CACHE})
    set(root $ENV{HONE_CACHE}/arm64)
  endif()
  if(DEFINED ENV{HONE_ARM64_ROOT})
    set(root $ENV{HONE_ARM64_ROOT})
  endif()
  set(HONE_ARM64_ROOT ${root} CACHE PATH "Libraries of arm64")
endif()
if(NOT EXISTS ${HONE_ARM64_ROOT}/usr/include)
  message(FATAL_ERROR "No arm64 libraries in ${HONE_ARM64_ROOT}; run scripts/setup --arm64 or give -DHONE_ARM64_ROOT")
endif()
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES HONE_ARM64_ROOT)

set(CMAKE_SYSROOT ${HONE_ARM64_ROOT})
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_LIBDIR} ${HONE_ARM64_ROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${HONE_ARM64_ROOT}/usr/share/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${HONE_ARM64_ROOT})
# -cpu max has every extension; a board is imitated by -DCMAKE_CROSSCOMPILING_EMULATOR="qemu-aarch64;-cpu;cortex-a76;-L;ROOT".
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -cpu max -L ${HONE_ARM64_ROOT} CACHE STRING "Runs arm64 programs")
