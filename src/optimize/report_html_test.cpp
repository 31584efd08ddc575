#include "optimize/report_html.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "optimize/report_chart.h"

namespace hone::optimize {
namespace {

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

Result sample() {
  Result r;
  r.output = "dir/<b>out & \"co\".gguf";
  r.recipe_yaml = "dir/out.recipe.yaml";
  r.input_bytes = 200'000'000, r.output_bytes = 80'000'000, r.parameters = 134'515'008;
  r.input_bpw = 16, r.output_bpw = 4.75;
  r.input_sha256 = std::string(64, 'a'), r.output_sha256 = std::string(64, 'b');
  r.divergence.tokens = 2048;
  r.divergence.kl_mean = {0.1234, 0.005};
  r.divergence.same_top1 = {0.81, 0.01};
  r.command_line = "hone optimize '<script>alert(1)</script>'";
  r.environment = {{"processor", "A & B"}, {"threads", 2}};
  r.candidates = {{"uniform Q4_K", 79'000'000, 4.6, 0.2, 0.25, false, true},
                  {"search 1", 80'000'000, 4.75, 0.1, 0.1234, true, true},
                  {"<i>worse</i>", 80'500'000, 4.8, 0.3, 0.31, false, false},
                  {"unchanged", 200'000'000, 16, 0, 0, false, true}};
  r.tensors = {{"blk.0.<x>",
                "query",
                {576, 576},
                tensor::FormatId::kBF16,
                tensor::FormatId::kQ4_K,
                186624,
                0.01,
                0.002},
               {"token_embd.weight",
                "embedding",
                {49152, 576},
                tensor::FormatId::kBF16,
                tensor::FormatId::kQ6_K,
                23224320,
                std::numeric_limits<double>::quiet_NaN(),
                0.01}};
  return r;
}

TEST(ReportHtml, EscapesEveryText) {
  EXPECT_EQ(escape_html("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
  const std::string page = report_html(sample());
  for (const char* raw : {"<b>out", "<script>alert", "<i>worse", "blk.0.<x>", "A & B"})
    EXPECT_EQ(page.find(raw), std::string::npos) << raw;
  for (const char* safe :
       {"&lt;b&gt;out &amp; &quot;co&quot;.gguf", "&lt;script&gt;alert", "blk.0.&lt;x&gt;", "A &amp; B"})
    EXPECT_NE(page.find(safe), std::string::npos) << safe;
}

TEST(ReportHtml, StandsAlone) {
  const std::string page = report_html(sample());
  EXPECT_EQ(count(page, "http://") + count(page, "https://"), 0u);
  EXPECT_EQ(count(page, " src="), 0u);
  EXPECT_EQ(count(page, " href="), 0u);
  EXPECT_EQ(count(page, "@import") + count(page, "url("), 0u);
  EXPECT_EQ(count(page, "nan"), 0u);  // what was not measured is a dash
}

TEST(ReportHtml, TellsTheFiguresAndLeavesOutTheUnmeasured) {
  Result r = sample();
  const std::string page = report_html(r);
  for (const char* text : {"80.00 MB", "40 % of the input", "4.750", "0.1234", "81.0 %", "hone run",
                           "llama-cli", r.output_sha256.c_str()})
    EXPECT_NE(page.find(text), std::string::npos) << text;
  EXPECT_EQ(page.find("tokens/s"), std::string::npos);
  r.speed_after.decode_tokens_per_second = {123.4, 120, 125};
  EXPECT_NE(report_html(r).find("123.4 (120.0 to 125.0)"), std::string::npos);
}

TEST(Chart, EveryCandidateIsAPoint) {
  const Result r = sample();
  const std::string svg = size_kl_chart(r.candidates);
  EXPECT_EQ(count(svg, "<title>"), 4u);
  EXPECT_EQ(count(svg, "class=\"chosen\""), 1u);
  EXPECT_EQ(count(svg, "<g class=\"front\""), 2u);
  EXPECT_EQ(count(svg, "<polyline"), 1u);
  EXPECT_NE(svg.find("search 1\n80.00 MB"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

TEST(Chart, OneOrNoCandidate) {
  EXPECT_NE(size_kl_chart({}).find("replayed"), std::string::npos);
  for (const double kl : {0.0, 1e-9, 5.0}) {
    Candidate c;
    c.bytes = 1000, c.kl_mean = kl;
    const std::string svg = size_kl_chart({c});
    EXPECT_EQ(count(svg, "<title>"), 1u);
    EXPECT_EQ(svg.find("nan"), std::string::npos);
    EXPECT_EQ(svg.find("inf"), std::string::npos);
  }
}

TEST(Chart, Ticks) {
  const std::vector<double> ticks = linear_ticks(57, 203, 8);
  ASSERT_EQ(ticks.size(), 8u);
  EXPECT_DOUBLE_EQ(ticks.front(), 60);
  EXPECT_DOUBLE_EQ(ticks.back(), 200);
  EXPECT_TRUE(linear_ticks(3, 3, 5).empty());
  const std::vector<double> logs = log_ticks(0.015, 1.2);
  ASSERT_EQ(logs.size(), 6u);  // .02 .05 .1 .2 .5 1
  EXPECT_DOUBLE_EQ(logs.front(), 0.02);
  EXPECT_EQ(log_ticks(1e-6, 1).size(), 7u);  // powers only
  EXPECT_TRUE(log_ticks(0, 1).empty());
}

}  // namespace
}  // namespace hone::optimize
