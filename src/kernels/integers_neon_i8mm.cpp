// Products in integers compiled for ARM processors with products of matrices of bytes.
#include "kernels/integers_neon.inc"
