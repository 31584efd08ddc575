// The kernels compiled for ARM processors with the dot product of bytes.
#include "kernels/kernels_neon.inc"
