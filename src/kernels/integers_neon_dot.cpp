// Products in integers compiled for ARM processors with the dot product of bytes.
#include "kernels/integers_neon.inc"
