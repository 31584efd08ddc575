// Chooses the row of the dispatch table.
#include "base/error.h"
#include "kernels/isa_table.h"
// The tables for NEON need few.h's, as the build file says.
#if defined(__aarch64__) && __has_include("kernels/few.h")
#include "kernels/neon_tables.h"
#endif

namespace hone::kernels {

const IsaTable& table_for(Isa isa) {
  if (!isa_supported(isa))
    fail(ErrorKind::kUsage, "[kernels] this machine cannot run {} kernels", isa_name(isa));
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return avx512_table();
  if (isa == Isa::kAvx2) return avx2_table();
#elif defined(__aarch64__) && __has_include("kernels/few.h")
  if (isa == Isa::kNeonI8mm) return neon_i8mm_table();
  if (isa == Isa::kNeonDot) return neon_dot_table();
  if (isa == Isa::kNeon) return neon_table();
#endif
  return scalar_table();
}

const IsaTable& active_table() {
  static const IsaTable& table = table_for(active_isa());
  return table;
}

}  // namespace hone::kernels
