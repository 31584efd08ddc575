#include "optimize/report_chart.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "optimize/report_html.h"

namespace hone::optimize {
namespace {

// The drawing's own units; the page scales it to its width.
constexpr double kWidth = 860, kHeight = 440, kLeft = 74, kRight = 24, kTop = 18, kBottom = 52;

struct Axes {
  double x_low, x_high;  // megabytes
  double y_low, y_high;  // KL divergence, positive
  double x(double mb) const { return kLeft + (mb - x_low) / (x_high - x_low) * (kWidth - kLeft - kRight); }
  double y(double kl) const {
    const double share = std::log(std::max(kl, y_low) / y_low) / std::log(y_high / y_low);
    return kHeight - kBottom - share * (kHeight - kTop - kBottom);
  }
};

double megabytes(const Candidate& c) {
  return static_cast<double>(c.bytes) / 1e6;
}

Axes axes_for(const std::vector<Candidate>& candidates) {
  double x_low = 1e300, x_high = 0, y_low = 1e300, y_high = 0;
  for (const Candidate& c : candidates) {
    x_low = std::min(x_low, megabytes(c)), x_high = std::max(x_high, megabytes(c));
    if (c.kl_mean > 0) y_low = std::min(y_low, c.kl_mean), y_high = std::max(y_high, c.kl_mean);
  }
  if (y_high <= 0) y_low = 1e-4, y_high = 1;
  const double margin = std::max((x_high - x_low) * 0.05, x_high * 0.01 + 1e-6);
  return {x_low - margin, x_high + margin, y_low / 1.5, y_high * 1.5};
}

std::string short_number(double v) {
  return v >= 0.0009 && v < 1e4 ? fmt::format("{:g}", v) : fmt::format("{:.0e}", v);
}

std::string grid(const Axes& axes) {
  std::string svg;
  for (const double v : linear_ticks(axes.x_low, axes.x_high, 8)) {
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\"/>"
        "<text class=\"tick\" x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4:g}</text>\n",
        axes.x(v), kTop, kHeight - kBottom, kHeight - kBottom + 18, v);
  }
  for (const double v : log_ticks(axes.y_low, axes.y_high)) {
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{0}\" y1=\"{1:.1f}\" x2=\"{2}\" y2=\"{1:.1f}\"/>"
        "<text class=\"tick\" x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5}</text>\n",
        kLeft, axes.y(v), kWidth - kRight, kLeft - 8, axes.y(v) + 4, short_number(v));
  }
  svg += fmt::format(
      "<text class=\"axis\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">size of the file, MB</text>\n",
      (kLeft + kWidth - kRight) / 2, kHeight - 12);
  svg += fmt::format(
      "<text class=\"axis\" transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">"
      "KL divergence to the input, nats (log)</text>\n",
      (kTop + kHeight - kBottom) / 2);
  return svg;
}

std::string point(const Axes& axes, const Candidate& c) {
  const char* kind = c.chosen ? "chosen" : c.on_front ? "front" : "other";
  const std::string title = fmt::format("{}\n{:.2f} MB, {:.3f} bits per weight\nKL {:.5f} (predicted {:.5f})",
                                        c.name, megabytes(c), c.bpw, c.kl_mean, c.predicted_kl);
  std::string svg = fmt::format("<g class=\"{}\" tabindex=\"0\"><title>{}</title>", kind, escape_html(title));
  const double x = axes.x(megabytes(c)), y = axes.y(c.kl_mean);
  if (c.chosen) svg += fmt::format("<circle class=\"ring\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"11\"/>", x, y);
  // An invisible larger disc makes the point easy to hover.
  svg += fmt::format(
      "<circle class=\"hit\" cx=\"{0:.1f}\" cy=\"{1:.1f}\" r=\"12\"/><circle class=\"dot\" cx=\"{0:.1f}\" "
      "cy=\"{1:.1f}\" r=\"{2}\"/>",
      x, y,
      c.chosen     ? 5.5
      : c.on_front ? 4.5
                   : 3.5);
  if (c.chosen) {
    const bool right_half = x > kWidth * 0.75;
    svg += fmt::format(
        "<text class=\"label\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">chosen: {:.{}f} MB, KL "
        "{:.4f}</text>",
        right_half ? x - 16 : x + 16, y - 10, right_half ? "end" : "start", megabytes(c),
        megabytes(c) < 10 ? 2 : 1, c.kl_mean);
  }
  return svg + "</g>\n";
}

}  // namespace

std::vector<double> linear_ticks(double low, double high, int count) {
  std::vector<double> ticks;
  if (!(high > low) || count < 1 || !std::isfinite(high - low)) return ticks;
  const double raw = (high - low) / count, power = std::pow(10, std::floor(std::log10(raw)));
  const double step = power * (raw / power <= 1 ? 1 : raw / power <= 2 ? 2 : raw / power <= 5 ? 5 : 10);
  for (double i = std::ceil(low / step); i * step <= high; i += 1) ticks.push_back(i * step);
  return ticks;
}

std::vector<double> log_ticks(double low, double high) {
  std::vector<double> all, powers;
  if (!(low > 0) || !(high > low) || !std::isfinite(high)) return all;
  for (int e = static_cast<int>(std::floor(std::log10(low)));
       e <= static_cast<int>(std::ceil(std::log10(high))); ++e) {
    for (const int m : {1, 2, 5}) {
      const double v = m * std::pow(10.0, e);
      if (v < low || v > high) continue;
      all.push_back(v);
      if (m == 1) powers.push_back(v);
    }
  }
  return all.size() > 10 && powers.size() > 1 ? powers : all;
}

std::string size_kl_chart(const std::vector<Candidate>& candidates) {
  if (candidates.empty()) return "<p>No candidate was measured: the recipe was replayed.</p>\n";
  const Axes axes = axes_for(candidates);
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"Size against KL divergence of {} candidates\">\n",
      kWidth, kHeight, candidates.size());
  svg += grid(axes);
  std::vector<const Candidate*> order;
  for (const Candidate& c : candidates) order.push_back(&c);
  std::stable_sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->bytes < b->bytes; });
  std::string line;
  for (const Candidate* c : order)
    if (c->on_front) line += fmt::format("{:.1f},{:.1f} ", axes.x(megabytes(*c)), axes.y(c->kl_mean));
  svg += "<polyline class=\"front-line\" points=\"" + line + "\"/>\n";
  // The chosen one is drawn last, on top.
  std::stable_sort(order.begin(), order.end(), [](auto* a, auto* b) {
    return a->chosen + a->chosen + a->on_front < b->chosen + b->chosen + b->on_front;
  });
  for (const Candidate* c : order) svg += point(axes, *c);
  svg +=
      "</svg>\n<p class=\"legend\"><span class=\"key other\"></span>measured candidate "
      "<span class=\"key front\"></span>Pareto front <span class=\"key chosen\"></span>chosen. "
      "Hover a point for its figures, which are of the search's text; those above are of held-out "
      "text.</p>\n";
  return svg;
}

}  // namespace hone::optimize
