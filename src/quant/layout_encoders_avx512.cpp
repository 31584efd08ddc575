// The encoders of the grouped formats for one instruction set; see layout_encoders.inc.
#include "quant/layout_encoders.inc"
