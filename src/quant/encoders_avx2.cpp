// The encoders for one instruction set; see encoders.inc.
#include "quant/encoders.inc"
