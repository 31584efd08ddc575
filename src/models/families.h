// The explicit list of families: one declaration per family file, used by family_list() alone.
#pragma once

#include "models/family.h"

namespace hone::models {

const Family& llama_family();

}  // namespace hone::models
