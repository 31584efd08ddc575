// Kernels of the grouped formats compiled for ARM processors with the dot product of bytes.
#include "kernels/grouped_neon.inc"
