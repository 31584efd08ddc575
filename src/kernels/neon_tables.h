// The rows of the dispatch table for 64-bit ARM, and their parts: *_neon.cpp, *_neon_dot.cpp, *_neon_i8mm.cpp.
#pragma once

#include "kernels/isa_table.h"

namespace hone::kernels {

const GroupedKernels* neon_grouped();
const GroupedKernels* neon_dot_grouped();
const GroupedKernels* neon_i8mm_grouped();

const DenseTable& neon_dense();
const DenseTable& neon_dot_dense();
const DenseTable& neon_i8mm_dense();

const FewTable& neon_few();
const FewTable& neon_dot_few();
const FewTable& neon_i8mm_few();

const AttentionTable& neon_attention();
const AttentionTable& neon_dot_attention();
const AttentionTable& neon_i8mm_attention();

const IsaTable& neon_table();
const IsaTable& neon_dot_table();
const IsaTable& neon_i8mm_table();

}  // namespace hone::kernels
