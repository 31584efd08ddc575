// A model's graph run once on arrays from files: what every comparison with a reference needs.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "exec/device.h"
#include "models/model.h"

namespace hone::app {

struct GraphOutput {
  std::string name;
  tensor::Shape shape;
};

// inputs: graph input name -> .npy file; integers and floats are converted to the type that the graph wants.
// position_ids of a language model are 0, 1, 2... unless given. Outputs go to output (.npz). Error(kUsage)
// for unknown or missing inputs, Error(kBadInput) for shapes that do not fit. adapt: a change to the graph before it
// runs.
std::vector<GraphOutput> run_graph(const models::Model& model, exec::Device& device,
                                   const std::vector<std::pair<std::string, std::filesystem::path>>& inputs,
                                   const std::filesystem::path& output,
                                   const std::function<ir::Graph(ir::Graph)>& adapt = {});

}  // namespace hone::app
