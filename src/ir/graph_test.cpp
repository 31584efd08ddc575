// Graph construction, symbols, shape inference and the verifier.
#include "ir/graph.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "ir/op_table.h"

namespace hone::ir {
namespace {

Shape shape_of(std::initializer_list<int64_t> sizes) {
  Shape shape;
  for (const int64_t n : sizes) shape.push_back(Dim::of(n));
  return shape;
}

struct Fixture : testing::Test {
  Graph g;
  Dim batch = Dim::sym(g.symbol("batch")), sequence = Dim::sym(g.symbol("sequence"));
  int counter = 0;

  ValueId input(Shape shape, DType dtype = DType::kF32) {
    return g.add_input("in" + std::to_string(counter++), dtype, std::move(shape));
  }
  ValueId ints(std::vector<int64_t> values) {
    return g.add_constant("c" + std::to_string(counter++), DType::kI64, {static_cast<int64_t>(values.size())},
                          constant_of_ints(values));
  }
  using Attributes = std::vector<std::pair<std::string, Attribute>>;
  std::string infer(const char* op, std::vector<ValueId> inputs, Attributes attributes = {}) {
    const ValueId id = g.add(op, "n" + std::to_string(counter++), std::move(inputs), std::move(attributes));
    return type_text(g, g.value(id).dtype, g.value(id).shape);
  }
  std::string error_of(const char* op, std::vector<ValueId> inputs, Attributes attributes = {}) {
    try {
      infer(op, std::move(inputs), std::move(attributes));
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  }
};

TEST_F(Fixture, DerivedSymbolsAreFoundAgainAndEvaluate) {
  const Dim flat = g.product(batch, sequence);
  EXPECT_EQ(g.product(sequence, batch), flat);
  EXPECT_EQ(g.symbols()[static_cast<size_t>(flat.symbol)], "batch*sequence");
  const Dim total = g.sum(Dim::sym(g.symbol("past")), sequence);
  EXPECT_EQ(g.symbols()[static_cast<size_t>(total.symbol)], "total");
  const Dim scaled = g.product(flat, Dim::of(3));
  EXPECT_EQ(g.sum(Dim::of(2), Dim::of(3)), Dim::of(5));

  std::vector<int64_t> values(g.symbols().size(), -1);
  values[static_cast<size_t>(batch.symbol)] = 2;
  values[static_cast<size_t>(sequence.symbol)] = 7;
  g.resolve_symbols(values);
  EXPECT_EQ(Graph::size_of(scaled, values), 42);
  EXPECT_EQ(Graph::size_of(total, values), -1);  // past is unbound
  values[static_cast<size_t>(g.symbol("past"))] = 100;
  g.resolve_symbols(values);
  EXPECT_EQ(Graph::size_of(total, values), 107);
  values[static_cast<size_t>(batch.symbol)] = int64_t{1} << 62;
  EXPECT_THROW(g.resolve_symbols(values), Error);
}

TEST_F(Fixture, ProductsAndNormalisations) {
  const ValueId x = input({batch, sequence, Dim::of(64)});
  const ValueId w = input(shape_of({64, 96}));
  EXPECT_EQ(infer("MatMul", {x, w}), "F32[batch, sequence, 96]");
  EXPECT_NE(error_of("MatMul", {w, w}).find("inner sizes differ: F32[64, 96] times F32[64, 96]"), std::string::npos);
  EXPECT_EQ(infer("Gemm", {w, w}, {{"transB", int64_t{1}}}), "F32[64, 64]");
  EXPECT_EQ(infer("RMSNormalization", {x, input(shape_of({64}))}), "F32[batch, sequence, 64]");
  EXPECT_NE(error_of("RMSNormalization", {x, input(shape_of({63}))}).find("do not broadcast"), std::string::npos);
  EXPECT_EQ(infer("Softmax", {x}), "F32[batch, sequence, 64]");
  EXPECT_NE(error_of("Softmax", {x}, {{"axis", int64_t{3}}}).find("axis 3"), std::string::npos);
  EXPECT_EQ(infer("ReduceMean", {x, ints({-1})}), "F32[batch, sequence, 1]");
  EXPECT_EQ(infer("ReduceMean", {x}, {{"keepdims", int64_t{0}}}), "F32[]");
}

TEST_F(Fixture, ReshapeFollowsZeroAndMinusOne) {
  const ValueId x = input({batch, sequence, Dim::of(64)});
  EXPECT_EQ(infer("Reshape", {x, ints({0, 0, 4, 16})}), "F32[batch, sequence, 4, 16]");
  EXPECT_EQ(infer("Reshape", {x, ints({-1, 64})}), "F32[batch*sequence, 64]");
  const ValueId flat = g.find_value("n4");
  ASSERT_NE(flat, kNoValue);
  EXPECT_EQ(infer("Reshape", {flat, ints({0, -1})}), "F32[batch*sequence, 64]");
  EXPECT_NE(error_of("Reshape", {x, ints({0, 0, 63})}).find("cannot become"), std::string::npos);
  EXPECT_NE(error_of("Reshape", {x, ints({-1, -1})}).find("more than one"), std::string::npos);
  EXPECT_EQ(infer("Reshape", {x, ints({-1, 0})}), "F32[batch*64, sequence]");
}

TEST_F(Fixture, LayoutOps) {
  const ValueId x = input({batch, sequence, Dim::of(64)});
  EXPECT_EQ(infer("Transpose", {x}, {{"perm", std::vector<int64_t>{1, 0, 2}}}), "F32[sequence, batch, 64]");
  EXPECT_EQ(infer("Gather", {input(shape_of({160, 64})), input({batch, sequence}, DType::kI64)}), "F32[batch, sequence, 64]");
  EXPECT_EQ(infer("Concat", {x, x}, {{"axis", int64_t{2}}}), "F32[batch, sequence, 128]");
  EXPECT_EQ(infer("Slice", {x, ints({8}), ints({INT64_MAX}), ints({2})}), "F32[batch, sequence, 56]");
  EXPECT_EQ(infer("Slice", {x, ints({-1}), ints({INT64_MIN}), ints({2}), ints({-2})}), "F32[batch, sequence, 32]");
  EXPECT_EQ(infer("Slice", {x, ints({-1}), ints({INT64_MAX}), ints({1})}), "F32[batch, 1, 64]");
  EXPECT_EQ(infer("Unsqueeze", {x, ints({0, -1})}), "F32[1, batch, sequence, 64, 1]");
  EXPECT_EQ(infer("Squeeze", {input(shape_of({1, 3, 1})), ints({0})}), "F32[3, 1]");
  EXPECT_EQ(infer("Shape", {x}), "I64[3]");
  EXPECT_EQ(infer("Cast", {x}, {{"to", int64_t{10}}}), "F16[batch, sequence, 64]");
  const auto parts = g.add_node("Split", "parts", {x, ints({16, 48})}, {{"axis", int64_t{-1}}});
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(type_text(g, DType::kF32, g.value(parts[1]).shape), "F32[batch, sequence, 48]");
}

TEST_F(Fixture, AttentionGivesPresentOfTotalLength) {
  const ValueId q = input({batch, sequence, Dim::of(64)}), k = input({batch, sequence, Dim::of(32)});
  const Shape past{batch, Dim::of(2), Dim::sym(g.symbol("past")), Dim::of(16)};
  const ValueId pk = input(past), pv = input(past);
  const Attributes heads{{"q_num_heads", int64_t{4}}, {"kv_num_heads", int64_t{2}}, {"is_causal", int64_t{1}}};
  const auto out = g.add_node("Attention", "a", {q, k, k, kNoValue, pk, pv}, heads, {"a", "present_key", "present_value"});
  EXPECT_EQ(type_text(g, DType::kF32, g.value(out[0]).shape), "F32[batch, sequence, 64]");
  EXPECT_EQ(type_text(g, DType::kF32, g.value(out[1]).shape), "F32[batch, 2, total, 16]");
  EXPECT_EQ(infer("Attention", {q, k, k}, heads), "F32[batch, sequence, 64]");
  EXPECT_NE(error_of("Attention", {q, k, k, kNoValue, pk}, heads).find("come together"), std::string::npos);
  g.add_state("kv", pk, out[1], 2);
  g.add_output(out[0]);
  verify(g);
}

TEST_F(Fixture, RotaryEmbeddingChecksItsCaches) {
  const ValueId x = input({batch, sequence, Dim::of(64)}), positions = input({batch, sequence}, DType::kI64);
  const ValueId cache = input(shape_of({128, 8}));
  EXPECT_EQ(infer("RotaryEmbedding", {x, cache, cache, positions}, {{"num_heads", int64_t{4}}}), "F32[batch, sequence, 64]");
  EXPECT_NE(error_of("RotaryEmbedding", {x, cache, cache, positions}, {{"num_heads", int64_t{8}}}).find("does not fit"),
            std::string::npos);
}

TEST_F(Fixture, ConstantsAreCheckedAgainstTheirFormat) {
  const std::vector<std::byte> block(18 * 4);
  Constant q4{FormatId::kQ4_0, true, block, nullptr, {}, "w"};
  const ValueId w = g.add_constant("w", DType::kF32, {64, 2}, q4);  // in memory two rows of 64
  EXPECT_EQ(g.constant_of(w)->source, "w");
  EXPECT_THROW(g.add_constant("v", DType::kF32, {2, 64}, q4), Error);    // rows of 2 do not fill a block
  EXPECT_THROW(g.add_constant("u", DType::kF32, {64, 3}, q4), Error);    // 108 bytes needed
  EXPECT_THROW(g.add_constant("t", DType::kI64, {64, 2}, q4), Error);
  EXPECT_THROW(g.add_constant("w", DType::kF32, {64, 2}, q4), Error);    // name taken
  const std::vector<std::byte> plain(512);
  g.set_constant(w, {FormatId::kF32, true, plain, nullptr, {}, "w"});
  EXPECT_EQ(g.constant_of(w)->format, FormatId::kF32);
  EXPECT_THROW(g.set_constant(w, {FormatId::kF16, true, plain, nullptr, {}, "w"}), Error);
}

TEST_F(Fixture, UnknownOpsAndWrongArityAreRefused) {
  const ValueId x = input(shape_of({2}));
  EXPECT_NE(error_of("Frobnicate", {x}).find("op 'Frobnicate' is not known"), std::string::npos);
  EXPECT_NE(error_of("MatMul", {x}).find("1 inputs where 2 to 2"), std::string::npos);
  EXPECT_NE(error_of("Sqrt", {kNoValue}).find("input 0 is required"), std::string::npos);
  EXPECT_NE(error_of("Sqrt", {99}).find("does not exist"), std::string::npos);
  EXPECT_NE(error_of("Sqrt", {x}, {}).find("no error"), std::string::npos);
  for (const OpInfo& row : all_ops()) EXPECT_EQ(find_op(row.name), &row);
}

}  // namespace
}  // namespace hone::ir
