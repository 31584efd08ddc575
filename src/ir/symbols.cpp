// Symbolic sizes: free symbols and those derived from them by products and sums.
#include <algorithm>

#include "base/error.h"
#include "ir/graph.h"

namespace hone::ir {

namespace {

using Kind = SymbolRule::Kind;

// A dimension as rule of the given kind: numbers become the constant, derived symbols of the same kind
// are flattened, so that equal sizes get equal rules.
void append(const Graph& graph, const Dim& dim, SymbolRule& into) {
  const bool is_product = into.kind == Kind::kProduct;
  auto fold = [&](int64_t number) {
    int64_t& constant = into.constant;
    const bool overflow = is_product ? __builtin_mul_overflow(constant, number, &constant)
                                     : __builtin_add_overflow(constant, number, &constant);
    if (overflow) fail(ErrorKind::kBadInput, "[ir] a size overflows 64 bits");
  };
  if (dim.known()) return fold(dim.size);
  const SymbolRule& rule = graph.rule(dim.symbol);
  if (rule.kind != into.kind) {
    into.terms.push_back(dim.symbol);
    return;
  }
  fold(rule.constant);
  into.terms.insert(into.terms.end(), rule.terms.begin(), rule.terms.end());
}

std::string rule_name(const Graph& graph, const SymbolRule& rule) {
  const char* joint = rule.kind == Kind::kProduct ? "*" : "+";
  std::string name;
  for (const SymbolId term : rule.terms) {
    if (!name.empty()) name += joint;
    name += graph.symbols()[static_cast<size_t>(term)];
  }
  const int64_t neutral = rule.kind == Kind::kProduct ? 1 : 0;
  if (rule.constant != neutral) name += fmt::format("{}{}", joint, rule.constant);
  return name == "past+sequence" ? "total" : name;
}

Dim combine(Graph& graph, const Dim& a, const Dim& b, Kind kind) {
  SymbolRule rule{kind, kind == Kind::kProduct ? 1 : 0, {}};
  append(graph, a, rule);
  append(graph, b, rule);
  std::sort(rule.terms.begin(), rule.terms.end(), [&](SymbolId x, SymbolId y) {
    return graph.symbols()[static_cast<size_t>(x)] < graph.symbols()[static_cast<size_t>(y)];
  });
  if (rule.terms.empty() || (kind == Kind::kProduct && rule.constant == 0)) return Dim::of(rule.constant);
  const int64_t neutral = kind == Kind::kProduct ? 1 : 0;
  if (rule.terms.size() == 1 && rule.constant == neutral) return Dim::sym(rule.terms[0]);
  for (size_t i = 0; i < graph.symbols().size(); ++i)
    if (graph.rule(static_cast<SymbolId>(i)) == rule) return Dim::sym(static_cast<SymbolId>(i));
  std::string name = rule_name(graph, rule);
  while (std::find(graph.symbols().begin(), graph.symbols().end(), name) != graph.symbols().end()) name += '\'';
  return Dim::sym(graph.derive_symbol(name, std::move(rule)));
}

}  // namespace

SymbolId Graph::symbol(std::string_view name) {
  const auto found = std::find(symbols_.begin(), symbols_.end(), name);
  if (found != symbols_.end()) return static_cast<SymbolId>(found - symbols_.begin());
  if (name.empty()) fail(ErrorKind::kBadInput, "[ir] a symbol has no name");
  symbols_.emplace_back(name);
  rules_.emplace_back();
  return static_cast<SymbolId>(symbols_.size() - 1);
}

SymbolId Graph::derive_symbol(std::string_view name, SymbolRule rule) {
  const auto found = std::find(symbols_.begin(), symbols_.end(), name);
  if (found != symbols_.end()) {
    const auto id = static_cast<SymbolId>(found - symbols_.begin());
    if (rules_[static_cast<size_t>(id)] != rule)
      fail(ErrorKind::kBadInput, "[ir] symbol '{}' is defined twice with different rules", name);
    return id;
  }
  for (const SymbolId term : rule.terms)
    if (term < 0 || term >= static_cast<SymbolId>(symbols_.size()))
      fail(ErrorKind::kBadInput, "[ir] symbol '{}' is derived from an unknown symbol", name);
  const SymbolId id = symbol(name);
  rules_[static_cast<size_t>(id)] = std::move(rule);
  return id;
}

Dim Graph::product(const Dim& a, const Dim& b) { return combine(*this, a, b, Kind::kProduct); }
Dim Graph::sum(const Dim& a, const Dim& b) { return combine(*this, a, b, Kind::kSum); }

void Graph::resolve_symbols(std::span<int64_t> values) const {
  HONE_CHECK(values.size() == symbols_.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const SymbolRule& rule = rules_[i];
    if (rule.kind == Kind::kFree) continue;
    int64_t result = rule.constant;
    bool bound = true;
    for (const SymbolId term : rule.terms) {
      const int64_t value = values[static_cast<size_t>(term)];
      if (value < 0) bound = false;
      if (!bound) break;
      const bool overflow = rule.kind == Kind::kProduct ? __builtin_mul_overflow(result, value, &result)
                                                        : __builtin_add_overflow(result, value, &result);
      if (overflow) fail(ErrorKind::kBadInput, "[ir] size '{}' overflows 64 bits", symbols_[i]);
    }
    if (bound && result < 0) fail(ErrorKind::kBadInput, "[ir] size '{}' is negative: {}", symbols_[i], result);
    values[i] = bound ? result : -1;
  }
}

}  // namespace hone::ir
