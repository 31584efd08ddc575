// Ops that give the same elements another shape: no bytes move.
#include "backends/cpu/cpu_op.h"

namespace hone::backends {

namespace {

class View : public exec::Kernel {
 public:
  bool is_view() const override { return true; }
  void run(const exec::KernelContext&) override {}
};

bool supports(const ir::Graph& graph, const ir::Node& node) {
  return is_plain(graph, node, 0);
}
std::unique_ptr<exec::Kernel> view(const ir::Graph&, const ir::Node&) {
  return std::make_unique<View>();
}

}  // namespace

std::span<const CpuOp> view_ops() {
  static constexpr CpuOp ops[] = {
      {"Reshape", supports, view},
      {"Identity", supports, view},
      {"Unsqueeze", supports, view},
      {"Squeeze", supports, view},
      {"hone.ReshapeLike", supports, view},
  };
  return ops;
}

}  // namespace hone::backends
