// Every op of the CPU backend against what NumPy computed (tests/data/backends/make_ops.py), as graphs of one
// node.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "backends/cpu/cpu_device.h"
#include "backends/cpu/cpu_op.h"
#include "base/file.h"
#include "base/json.h"
#include "exec/plan.h"

namespace hone::backends {
namespace {

struct Array {
  tensor::Shape shape;
  std::vector<float> floats;
  std::vector<int64_t> ints;
  bool is_float = true, constant = false;
  tensor::TensorView view() const {
    if (is_float) return {tensor::FormatId::kF32, shape, std::as_bytes(std::span(floats))};
    return {tensor::FormatId::kI64, shape, std::as_bytes(std::span(ints))};
  }
};

Array read_array(const Json& j) {
  Array a;
  for (const auto& n : j["shape"]) a.shape.push_back(n.get<int64_t>());
  a.is_float = j["type"] == "F32";
  a.constant = j["constant"].get<bool>();
  for (const auto& v : j["data"]) {
    if (a.is_float)
      a.floats.push_back(v.get<float>());
    else
      a.ints.push_back(v.get<int64_t>());
  }
  return a;
}

std::vector<std::pair<std::string, ir::Attribute>> read_attributes(const Json& j) {
  std::vector<std::pair<std::string, ir::Attribute>> list;
  for (const auto& [key, value] : j.items()) {
    if (value.is_number_integer())
      list.emplace_back(key, value.get<int64_t>());
    else if (value.is_number())
      list.emplace_back(key, value.get<double>());
    else if (value.is_string())
      list.emplace_back(key, value.get<std::string>());
    else
      list.emplace_back(key, value.get<std::vector<int64_t>>());
  }
  return list;
}

ir::ValueId add_value(ir::Graph& graph, const std::string& name, const Array& a) {
  const auto dtype = a.is_float ? tensor::DType::kF32 : tensor::DType::kI64;
  if (!a.constant) {
    ir::Shape shape;
    for (const int64_t n : a.shape) shape.push_back(ir::Dim::of(n));
    return graph.add_input(name, dtype, shape);
  }
  return graph.add_constant(name, dtype, a.shape,
                            a.is_float ? ir::constant_of_floats(a.floats) : ir::constant_of_ints(a.ints));
}

void run_case(const Json& test, int threads, std::set<std::string>& seen) {
  const std::string op = test["op"].get<std::string>();
  SCOPED_TRACE(op + " " + test["attributes"].dump());
  ir::Graph graph;
  std::vector<Array> arrays;
  arrays.reserve(8);
  std::vector<ir::ValueId> ids;
  std::vector<std::string> names;
  for (const Json& j : test["inputs"]) {
    arrays.push_back(read_array(j));
    names.push_back("in" + std::to_string(ids.size()));
    ids.push_back(add_value(graph, names.back(), arrays.back()));
  }
  for (const ir::ValueId out : graph.add_node(op, "node", ids, read_attributes(test["attributes"])))
    graph.add_output(out);
  const auto device = make_cpu_device(threads);
  const auto plan = exec::Plan::compile(std::move(graph), *device, {});
  std::vector<exec::Input> inputs;
  for (size_t i = 0; i < arrays.size(); ++i)
    if (!arrays[i].constant) inputs.push_back({names[i], arrays[i].view()});
  for (int repeat = 0; repeat < 2; ++repeat) plan->run(inputs, nullptr);
  for (size_t o = 0; o < test["outputs"].size(); ++o) {
    const Array expected = read_array(test["outputs"][o]);
    const exec::Buffer got = plan->output(o);
    ASSERT_EQ(std::vector<int64_t>(got.dims, got.dims + got.rank), expected.shape);
    for (size_t i = 0; i < expected.floats.size(); ++i)
      ASSERT_NEAR(got.f32()[i], expected.floats[i], 2e-6 * (1 + std::fabs(expected.floats[i])))
          << "element " << i;
    for (size_t i = 0; i < expected.ints.size(); ++i) ASSERT_EQ(got.i64()[i], expected.ints[i]);
  }
  seen.insert(op);
}

TEST(Ops, MatchNumpy) {
  const Json cases = parse_json(read_text_file(HONE_SOURCE_DIR "/tests/data/backends/ops.json"), "ops.json");
  ASSERT_GT(cases.size(), 60u);
  std::set<std::string> seen;
  for (const int threads : {1, 3})
    for (const Json& test : cases) run_case(test, threads, seen);
  // The list of ops and the list of cases agree: a new op comes with its cases.
  for (const auto& list :
       {matmul_ops(), elementwise_ops(), row_ops(), attention_ops(), view_ops(), layout_ops()})
    for (const CpuOp& op : list) {
      if (std::string_view(op.name).starts_with("hone.")) continue;  // tests/train_test.cpp
      EXPECT_TRUE(seen.count(op.name)) << op.name << " has no case in ops.json";
    }
}

}  // namespace
}  // namespace hone::backends
