// Kernels of the grouped formats compiled for ARM processors with products of matrices of bytes.
#include "kernels/grouped_neon.inc"
