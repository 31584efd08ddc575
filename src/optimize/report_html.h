// The report as a page: OUT.report.html, self-contained (no request leaves it), light and dark.
#pragma once

#include <string>
#include <string_view>

#include "optimize/optimize.h"

namespace hone::optimize {

// The whole page. Every text of the result is escaped. Figures that were not measured (no speed run) are
// left out.
std::string report_html(const Result& result);

// &, <, >, " and ' as character references, so that a text is safe in elements and quoted attributes.
std::string escape_html(std::string_view text);

}  // namespace hone::optimize
