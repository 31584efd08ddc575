// The group encoders for one instruction set; see group_encoders.inc.
#include "quant/group_encoders.inc"
