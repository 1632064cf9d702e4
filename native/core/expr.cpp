#include "core/expr.h"

namespace tandem {
namespace {

Graph& graph_of(std::initializer_list<Expr> operands) {
  for (const Expr& e : operands) {
    if (!e.empty()) return e.graph();
  }
  fail(ErrorCode::kArgument, "expected an operand, received none");
}

std::vector<double> as_numbers(const Shape& shape) { return {shape.begin(), shape.end()}; }

}  // namespace

Expr apply(Op op, std::initializer_list<Expr> operands, const AttributeStorage& attributes) {
  std::vector<ValueId> ids;
  ids.reserve(operands.size());
  for (const Expr& e : operands) ids.push_back(e.id());
  Graph& graph = graph_of(operands);
  return {graph, graph.apply(op, std::move(ids), attributes)};
}

Expr apply(Op op, std::initializer_list<Expr> operands, const AttributeList& attributes) {
  return apply(op, operands, make_attributes(op, attributes));
}

Expr apply(Op op, std::initializer_list<Expr> operands) {
  return apply(op, operands, make_attributes(op, {}));
}

Expr operator+(const Expr& a, const Expr& b) { return apply(Op::add, {a, b}); }
Expr operator-(const Expr& a, const Expr& b) { return apply(Op::sub, {a, b}); }
Expr operator*(const Expr& a, const Expr& b) { return apply(Op::mul, {a, b}); }
Expr operator/(const Expr& a, const Expr& b) { return apply(Op::div, {a, b}); }
Expr operator-(const Expr& a) { return apply(Op::neg, {a}); }

Expr operator*(const Expr& a, float b) {
  return apply(Op::scale, {a}, {{"factor", static_cast<double>(b)}});
}

Expr pow_(const Expr& a, const Expr& b) { return apply(Op::pow, {a, b}); }
Expr greater_(const Expr& a, const Expr& b) { return apply(Op::greater, {a, b}); }
Expr equal_(const Expr& a, const Expr& b) { return apply(Op::equal, {a, b}); }
Expr powSlope_(const Expr& a, const Expr& b) { return apply(Op::powSlope, {a, b}); }
Expr xlogy_(const Expr& a, const Expr& b) { return apply(Op::xlogy, {a, b}); }

Expr sum(const Expr& a, const IntList& axes, bool keep_dims) {
  return apply(Op::sum, {a}, {{"axes", as_numbers(to_shape(axes))}, {"keepDims", keep_dims}});
}

Expr reshape(const Expr& a, const Shape& shape) {
  if (shape_of(a.tensor()) == shape) return a;
  return apply(Op::reshape, {a}, {{"shape", as_numbers(shape)}});
}

Expr broadcast_to(const Expr& a, const Shape& shape) {
  if (shape_of(a.tensor()) == shape) return a;
  return apply(Op::broadcastTo, {a}, {{"shape", as_numbers(shape)}});
}

Expr sum_to(const Expr& a, const Shape& shape) {
  const Shape from = shape_of(a.tensor());
  if (from == shape) return a;
  IntList axes{};
  const size_t lead = from.size() - shape.size();
  for (size_t i = 0; i < from.size(); ++i) {
    if (i < lead || (shape[i - lead] == 1 && from[i] != 1))
      axes.values[axes.count++] = static_cast<int64_t>(i);
  }
  return reshape(axes.count == 0 ? a : sum(a, axes, true), shape);
}

}  // namespace tandem
