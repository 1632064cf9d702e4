// Writing graph ops as expressions: gradients in ops/ and elementwise.def are built with it.
#pragma once

#include "core/graph.h"

namespace tandem {

/// A value of a graph under construction; empty where there is no gradient.
class Expr {
 public:
  Expr() = default;
  Expr(Graph& graph, ValueId id) : graph_(&graph), id_(id) {}
  [[nodiscard]] ValueId id() const { return id_; }
  [[nodiscard]] Graph& graph() const { return *graph_; }
  [[nodiscard]] bool empty() const { return id_ == kNoValue; }
  [[nodiscard]] const Tensor& tensor() const { return graph_->tensor(id_); }

 private:
  Graph* graph_ = nullptr;
  ValueId id_ = kNoValue;
};

Expr apply(Op op, std::initializer_list<Expr> operands);
Expr apply(Op op, std::initializer_list<Expr> operands, const AttributeStorage& attributes);
Expr apply(Op op, std::initializer_list<Expr> operands, const AttributeList& attributes);

Expr operator+(const Expr& a, const Expr& b);
Expr operator-(const Expr& a, const Expr& b);
Expr operator*(const Expr& a, const Expr& b);
Expr operator/(const Expr& a, const Expr& b);
Expr operator-(const Expr& a);
Expr operator*(const Expr& a, float b);
Expr pow_(const Expr& a, const Expr& b);
Expr greater_(const Expr& a, const Expr& b);
Expr equal_(const Expr& a, const Expr& b);
Expr powSlope_(const Expr& a, const Expr& b);
Expr xlogy_(const Expr& a, const Expr& b);
Expr sum(const Expr& a, const IntList& axes, bool keep_dims);
Expr reshape(const Expr& a, const Shape& shape);
Expr broadcast_to(const Expr& a, const Shape& shape);
/// Undoes broadcasting: sums `a` down to `shape`.
Expr sum_to(const Expr& a, const Shape& shape);

}  // namespace tandem
