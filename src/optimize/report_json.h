// The report as data: OUT.report.json, and what `hone optimize --json` prints.
#pragma once

#include "optimize/optimize.h"

namespace hone::optimize {

Json report_json(const Result& result);

}  // namespace hone::optimize
