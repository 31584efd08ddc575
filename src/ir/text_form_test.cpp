// The text form: fixtures round-trip, and hostile text ends in an Error.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "ir/graph.h"

namespace hone::ir {
namespace {

constexpr const char* kFixture = R"(graph tiny
symbol batch
symbol sequence
symbol past
symbol total = sum(0, past, sequence)
symbol batch*sequence = product(1, batch, sequence)
symbol rows
input input_ids : I64[batch, sequence]
input logit_rows : I64[rows]
input "odd name" : F32[batch, 2, past, 32]
input past_value : F32[batch, 2, past, 32]
constant embed : F32[160, 64] from "model.embed_tokens.weight"
constant w : F32[64, 64] as Q4_0 transposed from "w \"q\"\x0a"
constant flat : I64[2] = [-1, 64]
constant scale : F32[] = [0.125]
x : F32[batch, sequence, 64] = Gather(embed, input_ids) {axis = 0}
q : F32[batch, sequence, 64] = MatMul(x, w)
a : F32[batch, sequence, 64], "output" : F32[batch, 2, total, 32], a:v : F32[batch, 2, total, 32] = Attention(q, x, x, _, "odd name", past_value) {q_num_heads = 2, kv_num_heads = 2, scale = 0.25, note = "a, b"} named attention
y : F32[batch, sequence, 64] = Mul(a, scale)
z : F32[batch*sequence, 64] = Reshape(y, flat) {levels = ints[1, -2], weights = floats[1.0, 0.5], none = ints[]}
last : F32[rows, 64] = Gather(z, logit_rows) {axis = 0}
state kv : "odd name" -> "output" axis 2
output last
)";

std::string fixture() {
  std::string text = kFixture;  // ':' is no name character, so a:v must be quoted
  text.replace(text.find("a:v"), 3, "\"a:v\"");
  return text;
}

TEST(TextForm, FixturePrintsAsItWasWritten) {
  const Graph graph = parse_graph(fixture());
  EXPECT_EQ(print_graph(graph), fixture());
  verify(graph);
  EXPECT_TRUE(graph.constant_of(graph.find_value("w"))->unbound());
  EXPECT_EQ(graph.nodes()[2].name, "attention");
  EXPECT_DOUBLE_EQ(graph.nodes()[2].number_or("scale", 0), 0.25);
}

TEST(TextForm, CommentsAndBlankLinesAreSkipped) {
  const Graph graph = parse_graph("# a graph\n\ngraph g # its name\n  input x : F32[2]\ny : F32[2] = Exp(x)\noutput y");
  EXPECT_EQ(graph.nodes().size(), 1u);
}

TEST(TextForm, ValuesKeepTheirBits) {
  const float numbers[] = {0.1f, -0.0f, 1e-45f, 3.4028235e38f, INFINITY, -INFINITY, 16777217.0f};
  Graph graph;
  graph.add_constant("c", DType::kF32, {7}, constant_of_floats(numbers));
  graph.add_output(0);
  const Graph again = parse_graph(print_graph(graph));
  const auto bytes = again.constant_of(0)->bytes;
  ASSERT_EQ(bytes.size(), sizeof(numbers));
  EXPECT_EQ(std::memcmp(bytes.data(), numbers, sizeof(numbers)), 0);
}

TEST(TextForm, MistakesAreNamedWithTheirLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "text holds no graph"},
      {"input x : F32[2]", "line 1"},
      {"graph g\ninput x : F33[2]", "unknown type 'F33'"},
      {"graph g\ninput x : F32[n]", "symbol 'n' is not declared"},
      {"graph g\ninput x : F32[-2]", "negative"},
      {"graph g\ninput x : F32[99999999999999999999]", "64-bit"},
      {"graph g\ninput x : F32[2]\ninput x : F32[2]", "defined twice"},
      {"graph g\ninput x : F32[2]\ny : F32[3] = Exp(x)", "is F32[2] by inference"},
      {"graph g\ny : F32[3] = Exp(x)", "value 'x' is not defined"},
      {"graph g\ninput x : F32[2]\ny : F32[2], z : F32[2] = Exp(x)", "2 output names for 1 outputs"},
      {"graph g\nsymbol n = sum(0, n)", "not declared"},
      {"graph g\nconstant c : F32[3] = [1, 2]", "do not fill"},
      {"graph g\nconstant c : F32[1000000, 1000000, 1000000, 1000000]", "overflow"},
      {"graph g\nconstant c : F32[30] as Q4_0", "no multiple"},
      {"graph g\noutput _", "does not exist"},
      {"graph g extra", "after the end"},
      {"graph \"g", "expected"},
  };
  for (const auto& [text, message] : cases) {
    try {
      parse_graph(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << text << "\n" << error.what();
    }
  }
}

TEST(TextForm, MutatedTextNeverCrashes) {
  const std::string base = fixture();
  Random random(7);
  int parsed = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text = base;
    for (uint64_t edits = 1 + random.below(4); edits-- > 0;) {
      const size_t at = random.below(text.size());
      const uint64_t kind = random.below(4);
      if (kind == 0) text[at] = static_cast<char>(random.below(256));
      else if (kind == 1) text.erase(at, 1 + random.below(20));
      else if (kind == 2) text.insert(at, text.substr(random.below(text.size()), random.below(40)));
      else text.insert(at, "9223372036854775807");
      if (text.empty()) text = "g";
    }
    try {
      const Graph graph = parse_graph(text);
      EXPECT_EQ(print_graph(parse_graph(print_graph(graph))), print_graph(graph));
      ++parsed;
    } catch (const Error&) {
    }
  }
  EXPECT_GT(parsed, 10);  // some edits are harmless
}

}  // namespace
}  // namespace hone::ir
