#include "evaluate/speed_profile.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "ir/op_table.h"

namespace hone::evaluate {
namespace {

Json cost_json(const OpCost& cost) {
  return Json{{"weight_bytes", cost.weight_bytes},
              {"cache_bytes", cost.cache_bytes},
              {"multiply_adds", cost.multiply_adds}};
}

Json line_json(const ProfileLine& line, double total) {
  Json json = cost_json(line.cost);
  json["name"] = line.name;
  json["op"] = line.op;
  json["calls"] = line.calls;
  json["seconds"] = line.seconds;
  json["share"] = total > 0 ? line.seconds / total : 0;
  json["roof_seconds"] = line.roof_seconds;
  return json;
}

void add(ProfileLine& line, const ProfileLine& more) {
  line.calls += more.calls;
  line.seconds += more.seconds;
  line.cost += more.cost;
  line.roof_seconds += more.roof_seconds;
}

// Of a group: the products that it is about, "blk.*.attn_q + attn_k + attn_v", and its kinds of ops in order.
std::pair<std::string, std::string> step_name(const ir::Graph& graph, std::span<const ir::NodeId> nodes) {
  const auto at = [&](ir::NodeId n) -> const ir::Node& { return graph.nodes()[static_cast<size_t>(n)]; };
  std::string name = layer_free_name(at(nodes.back()).name), op = at(nodes.back()).op->name;
  if (nodes.size() == 1) return {name, op};
  std::string products;
  std::vector<std::string_view> kinds;
  for (const ir::NodeId n : nodes) {
    const std::string_view kind = at(n).op->name;
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) kinds.push_back(kind);
    if (kind != "MatMul" && kind != "Gemm") continue;
    const std::string one = layer_free_name(at(n).name);
    products += products.empty() ? one : " + " + one.substr(one.rfind('.') + 1);
  }
  op.clear();
  for (const std::string_view kind : kinds) op += (op.empty() ? "" : " + ") + std::string(kind);
  return {products.empty() ? name : products, op};
}

std::vector<ProfileLine> slowest_first(std::map<std::string, ProfileLine> lines) {
  std::vector<ProfileLine> sorted;
  for (auto& [name, line] : lines) sorted.push_back(std::move(line));
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return sorted;
}

}  // namespace

std::string layer_free_name(const std::string& name) {
  std::string out;
  for (size_t i = 0; i < name.size();) {
    size_t end = i;
    while (end < name.size() && name[end] >= '0' && name[end] <= '9') ++end;
    const bool whole = end > i && (i == 0 || name[i - 1] == '.') && (end == name.size() || name[end] == '.');
    if (whole) {
      out += '*';
      i = end;
    } else {
      out += name[i++];
    }
  }
  return out;
}

Profiler::Profiler(exec::Plan& plan, const Roofs& roofs)
    : plan_(plan), roofs_(roofs), seen_(plan.graph().nodes().size()) {
  plan_.set_observer([this](const ir::Node& node, std::span<const exec::Buffer>,
                            std::span<const exec::Buffer>, double seconds) {
    const auto index = static_cast<size_t>(&node - plan_.graph().nodes().data());
    ++seen_[index].calls;
    seen_[index].seconds += seconds;
  });
}

Profiler::~Profiler() {
  plan_.set_observer(nullptr);
}

void Profiler::add_run(const RunSizes& sizes, double seconds) {
  const std::vector<OpCost> costs = run_costs(plan_.graph(), sizes);
  for (size_t i = 0; i < costs.size(); ++i) {
    Seen& seen = seen_[static_cast<size_t>(plan_.step_nodes(static_cast<ir::NodeId>(i)).back())];
    seen.cost += costs[i];
    seen.roof_seconds += std::max(roofs_.memory_seconds(costs[i]), roofs_.arithmetic_seconds(costs[i]));
  }
  ++runs_;
  seconds_ += seconds;
}

PhaseProfile Profiler::finish(int64_t tokens) {
  PhaseProfile profile;
  profile.runs = runs_;
  profile.tokens = tokens;
  profile.seconds = profile.between_seconds = seconds_;
  std::map<std::string, ProfileLine> kinds, ops;
  for (size_t i = 0; i < seen_.size(); ++i) {
    const Seen& seen = seen_[i];
    if (seen.calls == 0) continue;
    const auto [name, op] = step_name(plan_.graph(), plan_.step_nodes(static_cast<ir::NodeId>(i)));
    const ProfileLine line{name, op, seen.calls, seen.seconds, seen.cost, seen.roof_seconds};
    const auto merge = [&](std::map<std::string, ProfileLine>& lines, const std::string& key) {
      ProfileLine& to = lines[key];
      to.name = key;
      to.op = line.op;
      add(to, line);
    };
    merge(kinds, line.op);
    merge(ops, line.name);
    profile.between_seconds -= seen.seconds;
    profile.cost += seen.cost;
    profile.roof_seconds += seen.roof_seconds;
  }
  profile.kinds = slowest_first(std::move(kinds));
  profile.ops = slowest_first(std::move(ops));
  return profile;
}

Json to_json(const PhaseProfile& p, const Roofs& roofs) {
  Json json = cost_json(p.cost);
  json["runs"] = p.runs;
  json["tokens"] = p.tokens;
  json["seconds"] = p.seconds;
  json["between_seconds"] = p.between_seconds;
  json["roof_seconds"] = p.roof_seconds;
  json["memory_seconds"] = roofs.memory_seconds(p.cost);
  for (const auto& [name, lines] : {std::pair{"kinds", &p.kinds}, {"ops", &p.ops}}) {
    json[name] = Json::array();
    for (const ProfileLine& line : *lines) json[name].push_back(line_json(line, p.seconds));
  }
  return json;
}

}  // namespace hone::evaluate
