// What the kernels of a grouped format need of its layout, as plain numbers.
#pragma once

#include "kernels/isa_table.h"
#include "tensor/grouped.h"

namespace hone::kernels {

// No kernels for all formats that are not grouped.
struct Grouped {
  const tensor::GroupedLayout* layout = nullptr;
  const GroupedKernels* kernels = nullptr;
  GroupedView view{};

  Grouped(const IsaTable& t, tensor::FormatId format) : layout(tensor::grouped_layout(format)) {
    const tensor::GroupedLayout* l = layout;
    if (!l) return;
    kernels = t.grouped + (l->code == tensor::CodeKind::kInt ? l->bits - 1
                                                             : kCodeE4M3 + static_cast<int>(l->code) -
                                                                   static_cast<int>(tensor::CodeKind::kE4M3));
    view = {l->group,
            l->block_bytes(),
            l->scale_bytes(),
            l->code_offset(),
            static_cast<int>(l->scale),
            static_cast<int>(l->zero),
            static_cast<float>(1 << (l->bits - 1))};
  }
  bool has_codes(size_t cols) const {
    const bool whole = view.group >= 32 || view.zero == static_cast<int>(tensor::ZeroKind::kNone);
    return kernels && kernels->gemv_codes && whole && cols % 32 == 0;
  }
};

}  // namespace hone::kernels
