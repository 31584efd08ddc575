// The chart of the report: file size against KL divergence on a logarithmic scale, as inline SVG.
#pragma once

#include <string>
#include <vector>

#include "optimize/optimize.h"

namespace hone::optimize {

// Every candidate as a point with a title that shows on hovering, the Pareto front as a line, the chosen
// one marked. Candidates whose divergence is not positive (nothing changed) sit on the lower edge.
std::string size_kl_chart(const std::vector<Candidate>& candidates);

// Ticks of an axis over [low, high]: multiples of 1, 2 or 5 times a power of ten, about `count` of them.
std::vector<double> linear_ticks(double low, double high, int count);
// 1, 2 and 5 times each power of ten inside [low, high]; only the powers where those are more than ten.
std::vector<double> log_ticks(double low, double high);

}  // namespace hone::optimize
