// Products in integers compiled for every 64-bit ARM processor.
#include "kernels/integers_neon.inc"
