// The quantize pass: gives constants of a graph another storage format. Encoding is lazy.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "ir/graph.h"

namespace hone::passes {

struct QuantizeOptions {
  // Constant::source -> format. Constants that are not named keep theirs.
  std::map<std::string, tensor::FormatId> formats;
  // Constant::source -> importance per input feature (row length entries); absent: plain.
  std::map<std::string, std::vector<float>> importances;
  ThreadPool* pool = nullptr;  // must outlive the graph when set
};

// Returns the graph with lazy constants and the number of constants that changed format. Error(kUsage) for a
// format that cannot be encoded or does not divide the row length.
struct QuantizeResult {
  ir::Graph graph;
  int matched = 0;
};
QuantizeResult quantize(ir::Graph graph, const QuantizeOptions& options);

}  // namespace hone::passes
