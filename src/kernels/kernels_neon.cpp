// The kernels compiled for every 64-bit ARM processor.
#include "kernels/kernels_neon.inc"
