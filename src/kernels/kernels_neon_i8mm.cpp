// The kernels compiled for ARM processors with products of matrices of bytes.
#include "kernels/kernels_neon.inc"
