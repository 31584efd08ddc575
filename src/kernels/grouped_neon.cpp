// Kernels of the grouped formats compiled for every 64-bit ARM processor.
#include "kernels/grouped_neon.inc"
