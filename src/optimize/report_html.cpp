#include "optimize/report_html.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "optimize/report_chart.h"
#include "optimize/report_style.h"

namespace hone::optimize {
namespace {

std::string megabytes(uint64_t bytes) {
  return fmt::format("{:.2f} MB", static_cast<double>(bytes) / 1e6);
}

std::string with_error(const evaluate::Statistic& s, int digits, const char* unit = "") {
  if (!(s.error > 0)) return fmt::format("{:.{}f}{}", s.value, digits, unit);
  return fmt::format("{:.{}f} ± {:.{}f}{}", s.value, digits, s.error, digits, unit);
}

evaluate::Statistic percent(const evaluate::Statistic& share) {
  return {100 * share.value, 100 * share.error};
}

std::string tile(const std::string& value, const std::string& label) {
  return "<div class=\"tile\"><b>" + escape_html(value) + "</b><span>" + escape_html(label) +
         "</span></div>\n";
}

// One row of three cells: what, before, after. Equal empty cells are left out by the caller.
std::string row3(const std::string& what, const std::string& before, const std::string& after) {
  return "<tr><th scope=\"row\">" + escape_html(what) + "</th><td class=\"n\">" + escape_html(before) +
         "</td><td class=\"n\">" + escape_html(after) + "</td></tr>\n";
}

bool measured(const evaluate::SpeedResult& speed) {
  return speed.decode_tokens_per_second.median > 0;
}

std::string rate(const evaluate::Sample& s) {
  return fmt::format("{:.1f} ({:.1f} to {:.1f})", s.median, s.min, s.max);
}

std::string head(const Result& r) {
  std::string html = "<h1>" + escape_html(r.output.filename().string()) + "</h1>\n<p class=\"soft\">";
  html += escape_html(fmt::format("{:.1f} M parameters, from {:.1f} MB to {:.1f} MB, in {:.0f} s",
                                  static_cast<double>(r.parameters) / 1e6,
                                  static_cast<double>(r.input_bytes) / 1e6,
                                  static_cast<double>(r.output_bytes) / 1e6, r.seconds));
  html += "</p>\n<div class=\"tiles\">\n";
  html += tile(megabytes(r.output_bytes),
               r.input_bytes > 0
                   ? fmt::format("{:.0f} % of the input", 100.0 * static_cast<double>(r.output_bytes) /
                                                              static_cast<double>(r.input_bytes))
                   : "size");
  html += tile(fmt::format("{:.3f}", r.output_bpw), fmt::format("bits per weight, was {:.2f}", r.input_bpw));
  html += tile(fmt::format("{:.4f}", r.divergence.kl_mean.value), "KL divergence to the input, nats");
  html += tile(fmt::format("{:.1f} %", 100 * r.divergence.same_top1.value), "same most likely token");
  if (measured(r.speed_after)) {
    const double before = r.speed_before.decode_tokens_per_second.median;
    html += tile(fmt::format("{:.0f}", r.speed_after.decode_tokens_per_second.median),
                 before > 0 ? fmt::format("decode tokens/s, was {:.0f}", before) : "decode tokens/s");
  }
  return html + "</div>\n";
}

std::string before_and_after(const Result& r) {
  const auto& d = r.divergence;
  std::string html =
      "<h2>What went in, what came out</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th></th><th "
      "class=\"n\">input</th>"
      "<th class=\"n\">output</th></tr></thead><tbody>\n";
  html += row3("Size", megabytes(r.input_bytes), megabytes(r.output_bytes));
  html += row3("Bits per weight", fmt::format("{:.3f}", r.input_bpw), fmt::format("{:.3f}", r.output_bpw));
  html += row3("Perplexity", with_error(d.reference_perplexity, 3), with_error(d.perplexity, 3));
  if (measured(r.speed_after)) {
    const auto &a = r.speed_before, &b = r.speed_after;
    html += row3("Prefill, tokens/s: median (range)", rate(a.prefill_tokens_per_second),
                 rate(b.prefill_tokens_per_second));
    html += row3("Decode, tokens/s: median (range)", rate(a.decode_tokens_per_second),
                 rate(b.decode_tokens_per_second));
    html += row3("Time to first token", fmt::format("{:.3f} s", a.first_token_seconds.median),
                 fmt::format("{:.3f} s", b.first_token_seconds.median));
    html += row3("Load", fmt::format("{:.2f} s", a.load_seconds), fmt::format("{:.2f} s", b.load_seconds));
    html += row3("Peak memory while running", megabytes(a.peak_memory_bytes), megabytes(b.peak_memory_bytes));
    html += row3("Share of read bandwidth in decode", fmt::format("{:.0f} %", 100 * a.decode_bandwidth_share),
                 fmt::format("{:.0f} %", 100 * b.decode_bandwidth_share));
  }
  html += "</tbody></table></div>\n<p class=\"soft\">Peak memory of the whole optimization: " +
          escape_html(megabytes(r.peak_memory_bytes)) + ".</p>\n";
  return html;
}

std::string divergence(const Result& r) {
  const auto& d = r.divergence;
  std::string html = "<h2>How far it is from the input</h2>\n<p class=\"soft\">" +
                     escape_html(fmt::format(
                         "Over {} positions of text that the search did not see{}. Divergences in nats, "
                         "standard errors after ±.",
                         d.tokens, r.evaluation_source.empty() ? "" : " (" + r.evaluation_source + ")")) +
                     "</p>\n<div class=\"scroll\"><table><thead><tr><th class=\"n\">KL mean</th><th "
                     "class=\"n\">median</th><th class=\"n\">99 %</th>"
                     "<th class=\"n\">99.9 %</th><th class=\"n\">largest</th><th class=\"n\">same "
                     "top-1</th></tr></thead><tbody><tr>\n";
  for (const std::string& cell :
       {with_error(d.kl_mean, 5), with_error(d.kl_median, 5), with_error(d.kl_99, 4), with_error(d.kl_999, 4),
        with_error(d.kl_max, 3), with_error(percent(d.same_top1), 2, " %")})
    html += "<td class=\"n\">" + escape_html(cell) + "</td>";
  return html + "</tr></tbody></table></div>\n";
}

std::string sortable_head(const std::vector<std::pair<const char*, bool>>& columns) {
  std::string html = "<div class=\"scroll\"><table class=\"sortable\"><thead><tr>";
  for (const auto& [name, number] : columns)
    html += fmt::format("<th{}><button type=\"button\">{}</button></th>", number ? " class=\"n\"" : "",
                        escape_html(name));
  return html + "</tr></thead><tbody>\n";
}

std::string number_cell(double value, const std::string& text) {
  // JavaScript reads numbers of this form; what was not measured is a dash and sorts first.
  if (!std::isfinite(value)) return "<td class=\"n\" data-v=\"-1\">–</td>";
  return fmt::format("<td class=\"n\" data-v=\"{:.9g}\">{}</td>", value, escape_html(text));
}

std::string candidates(const Result& r) {
  std::string html = "<h2>Size against KL divergence</h2>\n" + size_kl_chart(r.candidates);
  if (r.candidates.empty()) return html;
  html += fmt::format("<details><summary>All {} candidates</summary>\n", r.candidates.size());
  html += sortable_head({{"candidate", false},
                         {"size", true},
                         {"bits per weight", true},
                         {"KL measured", true},
                         {"KL predicted", true},
                         {"", false}});
  for (const Candidate& c : r.candidates) {
    html += "<tr><td>" + escape_html(c.name) + "</td>" +
            number_cell(static_cast<double>(c.bytes), megabytes(c.bytes)) +
            number_cell(c.bpw, fmt::format("{:.3f}", c.bpw)) +
            number_cell(c.kl_mean, fmt::format("{:.5f}", c.kl_mean)) +
            number_cell(c.predicted_kl, fmt::format("{:.5f}", c.predicted_kl)) + "<td>" +
            (c.chosen     ? "chosen"
             : c.on_front ? "on the front"
                          : "") +
            "</td></tr>\n";
  }
  return html + "</tbody></table></div></details>\n";
}

std::string formats(const Result& r) {
  std::map<tensor::FormatId, std::pair<int, uint64_t>> by_format;  // tensors, bytes
  uint64_t total = 0;
  for (const TensorChoice& t : r.tensors) {
    auto& [count, bytes] = by_format[t.to];
    ++count, bytes += t.bytes, total += t.bytes;
  }
  std::vector<std::pair<tensor::FormatId, std::pair<int, uint64_t>>> order(by_format.begin(),
                                                                           by_format.end());
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second.second > b.second.second; });
  std::string bar = "<div class=\"bar\">", rows;
  for (size_t i = 0; i < order.size(); ++i) {
    const auto& [id, use] = order[i];
    const double share = total > 0 ? 100.0 * static_cast<double>(use.second) / static_cast<double>(total) : 0;
    bar += fmt::format("<i style=\"width:{:.2f}%;opacity:{:.2f}\" title=\"{}: {:.1f} %\"></i>", share,
                       1.0 - 0.75 * static_cast<double>(i) / static_cast<double>(order.size()),
                       tensor::format(id).name, share);
    rows += fmt::format(
        "<tr><td>{}</td><td class=\"n\">{:.3f}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td "
        "class=\"n\">{:.1f} %</td></tr>\n",
        tensor::format(id).name, tensor::format(id).bits_per_weight(), use.first, megabytes(use.second),
        share);
  }
  return "<h2>Formats</h2>\n" + bar +
         "</div>\n<div class=\"scroll\"><table><thead><tr><th>format</th><th class=\"n\">bits per weight</th>"
         "<th class=\"n\">tensors</th><th class=\"n\">bytes</th><th "
         "class=\"n\">share</th></tr></thead><tbody>\n" +
         rows + "</tbody></table></div>\n";
}

std::string tensors(const Result& r) {
  std::string html = fmt::format(
      "<h2>Tensors</h2>\n<details open><summary>All {} tensors (click a column to sort)</summary>\n",
      r.tensors.size());
  html += sortable_head({{"tensor", false},
                         {"role", false},
                         {"shape", false},
                         {"from", false},
                         {"to", false},
                         {"bytes", true},
                         {"relative error", true},
                         {"KL predicted", true}});
  for (const TensorChoice& t : r.tensors) {
    html += "<tr><td><code>" + escape_html(t.name) + "</code></td><td>" + escape_html(t.role) + "</td><td>" +
            escape_html(tensor::shape_text(t.shape)) + "</td><td>" + tensor::format(t.from).name +
            "</td><td>" + tensor::format(t.to).name + "</td>" +
            number_cell(static_cast<double>(t.bytes), fmt::format("{}", t.bytes)) +
            number_cell(t.relative_error, fmt::format("{:.3g}", t.relative_error)) +
            number_cell(t.predicted_kl, fmt::format("{:.3g}", t.predicted_kl)) + "</tr>\n";
  }
  return html + "</tbody></table></div></details>\n";
}

std::string usage(const Result& r) {
  const std::string file = r.output.filename().string();
  return "<h2>How to use it</h2>\n<p>Chat with it:</p>\n<pre>" +
         escape_html("hone run '" + file + "'\nllama-cli -m '" + file + "'") +
         "</pre>\n<p>Check the figures on your own text, or make the same bytes again from the "
         "recipe:</p>\n<pre>" +
         escape_html("hone evaluate '" + file +
                     "' --reference INPUT --text TEXT\nhone optimize INPUT --recipe '" +
                     r.recipe_yaml.filename().string() + "' -o again.gguf") +
         "</pre>\n";
}

std::string provenance(const Result& r) {
  std::string html = "<h2>Where it comes from</h2>\n<div class=\"scroll\"><table><tbody>\n";
  const auto row = [&](const char* what, const std::string& value) {
    if (!value.empty())
      html += std::string("<tr><th scope=\"row\">") + what + "</th><td><code>" + escape_html(value) +
              "</code></td></tr>\n";
  };
  row("Command", r.command_line);
  row("SHA-256 of the input", r.input_sha256);
  row("SHA-256 of the output", r.output_sha256);
  row("Calibration text", r.calibration_source);
  row("Evaluation text", r.evaluation_source);
  row("Seed", std::to_string(r.recipe.seed));
  if (r.environment.is_object())
    for (const auto& [key, value] : r.environment.items())
      row(escape_html(key).c_str(), value.is_string() ? value.get<std::string>() : dump_json(value));
  html += "</tbody></table></div>\n<details><summary>Recipe</summary><pre>" +
          escape_html(to_short_yaml(r.recipe)) + "</pre></details>\n";
  return html;
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string report_html(const Result& r) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
         "'unsafe-inline'; script-src 'unsafe-inline'\">\n"
         "<title>" +
         escape_html(r.output.filename().string()) + ": hone report</title>\n<style>" + kReportStyle +
         "</style>\n</head>\n<body><main>\n" + head(r) + before_and_after(r) + divergence(r) + candidates(r) +
         formats(r) + tensors(r) + usage(r) + provenance(r) + "</main>\n<script>" + kReportScript +
         "</script>\n</body>\n</html>\n";
}

}  // namespace hone::optimize
