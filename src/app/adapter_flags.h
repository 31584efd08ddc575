// "--lora", "--control-vector" and "--control-vector-layers": changes to a model that verbs take on the
// command line.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/adapter.h"

namespace CLI {
class App;
}

namespace hone::app {

// "FILE" or "FILE:SCALE". A path that exists as it stands is a path.
struct ScaledFile {
  std::string path;
  double scale = 1;
};
ScaledFile parse_scaled_file(const std::string& text);

// Adapters of a verb that runs a model.
class AdapterFlags {
 public:
  void add(CLI::App& command);
  bool any() const { return !loras_.empty() || !vectors_.empty(); }
  // Reads the files and fits them to the model; whole tensors among them are put in place.
  void open(models::Model& model);
  // A graph of that model with everything applied; nothing to do returns it as it is.
  ir::Graph apply(ir::Graph graph) const;

 private:
  void add_direction(const std::string& argument, const models::Model& model);

  std::vector<std::string> loras_, vectors_;
  std::string layers_;
  // Shared with the constants of the graphs, which view the adapters' bytes.
  std::shared_ptr<std::vector<models::Adapter>> adapters_;
  std::vector<double> scales_;
  std::map<int64_t, std::vector<float>> directions_;
};

// Adapters of a verb that writes a model: only what can be put into weights.
class MergeFlags {
 public:
  void add(CLI::App& command);
  bool any() const { return !loras_.empty(); }
  models::MergeReport merge(models::Model& model) const;

 private:
  std::vector<std::string> loras_;
};

}  // namespace hone::app
