// The encoders for one instruction set; see grid_encoders.inc.
#include "quant/grid_encoders.inc"
