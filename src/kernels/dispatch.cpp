// Chooses the row of the dispatch table.
#include "base/error.h"
#include "kernels/isa_table.h"

namespace hone::kernels {

const IsaTable& table_for(Isa isa) {
  if (!isa_supported(isa))
    fail(ErrorKind::kUsage, "[kernels] this machine cannot run {} kernels", isa_name(isa));
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return avx512_table();
  if (isa == Isa::kAvx2) return avx2_table();
#endif
  return scalar_table();
}

const IsaTable& active_table() {
  static const IsaTable& table = table_for(active_isa());
  return table;
}

}  // namespace hone::kernels
