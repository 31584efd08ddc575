// The explicit list of families: one declaration per family file, used by family_list() alone.
#pragma once

#include "models/family.h"

namespace hone::models {

const Family& llama_family();
const Family& qwen2_family();
const Family& qwen3_family();
const Family& gemma2_family();
const Family& gemma3_family();
const Family& phi3_family();

}  // namespace hone::models
