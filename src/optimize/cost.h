// The price of giving a tensor a format, as expected KL divergence. Stands behind an interface so that a
// better cost (output Fisher x input second moments) can replace the measured one.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/model.h"

namespace hone::optimize {

// One entry per tensor that may change format, in canonical order.
struct CostRow {
  std::string name;                                  // canonical (GGUF) name
  std::vector<tensor::FormatId> formats;             // that divide its rows and can be encoded
  std::vector<double> cost;                          // expected KL divergence, parallel to formats
  std::vector<double> weighted_error;                // importance-weighted, relative, parallel to formats
};

class CostModel {
 public:
  virtual ~CostModel() = default;
  virtual std::string name() const = 0;
  virtual std::vector<CostRow> costs() = 0;
};

}  // namespace hone::optimize
