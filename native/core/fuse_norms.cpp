#include "core/fuse_norms.h"

#include "core/ops/batch_norm.h"
#include "core/ops/row_norm.h"
#include "core/rewrite.h"

namespace tandem {
namespace {

bool is_norm(const Node& node) { return node.op == Op::layerNorm || node.op == Op::rmsNorm; }

bool is_norm_grad(const Node& node) {
  return node.op == Op::layerNormGrad || node.op == Op::rmsNormGrad;
}

class NormFuser {
 public:
  explicit NormFuser(Graph& graph) : graph_(graph), uses_(graph.count_uses()) {}

  void run() {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (is_norm(graph_.nodes[i])) fuse_forward(i);
      if (graph_.nodes[i].op == Op::add) fuse_sum(i);
      if (is_unary(graph_.nodes[i].op)) fuse_activation(i);
    }
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (graph_.nodes[i].op == Op::add) fuse_backward(i);
    }
    graph_.remove_dead_nodes();
  }

 private:
  /// The node that computes `id`; past the end for a leaf.
  [[nodiscard]] size_t producer(ValueId id) const {
    const Value& value = graph_.value(id);
    return value.kind == ValueKind::kNode ? static_cast<size_t>(value.index) : graph_.nodes.size();
  }

  [[nodiscard]] bool is_before(ValueId id, size_t node) const {
    return id == kNoValue || graph_.value(id).kind != ValueKind::kNode || producer(id) < node;
  }

  [[nodiscard]] bool same_shapes(ValueId a, ValueId b) const {
    return same_shape(graph_.tensor(a), graph_.tensor(b));
  }

  /// A sum that alone reads what batchNorm gives is made by it, where the other operand is there in
  /// time.
  void fuse_sum(size_t index) {
    for (const size_t side : {size_t{1}, size_t{0}}) {
      const Node& add = graph_.nodes[index];
      const ValueId normal = add.inputs[side];
      const ValueId residual = add.inputs[1 - side];
      const size_t at = producer(normal);
      if (at >= graph_.nodes.size() || graph_.nodes[at].op != Op::batchNorm) continue;
      Node fused = graph_.nodes[at];
      const bool plain = fused.outputs[0] == normal && uses_[static_cast<size_t>(normal)] == 1 &&
                         fused.inputs.size() <= ops::BatchNorm::kResidual &&
                         fused.attrs<ops::BatchNorm::Attributes>().activation < 0;
      if (!plain || !same_shapes(normal, residual) || !is_before(residual, at)) continue;
      fused.inputs.resize(ops::BatchNorm::kResidual, kNoValue);
      fused.inputs.push_back(residual);
      fused.outputs[0] = add.outputs[0];
      put_node(graph_, at, std::move(fused));
      retire_node(graph_, index);
      return;
    }
  }

  /// An activation that alone reads what batchNorm gives is applied by it.
  void fuse_activation(size_t index) {
    const Node& unary = graph_.nodes[index];
    const ValueId normal = unary.inputs.empty() ? kNoValue : unary.inputs[0];
    if (normal == kNoValue || uses_[static_cast<size_t>(normal)] != 1) return;
    const size_t at = producer(normal);
    if (at >= graph_.nodes.size() || graph_.nodes[at].op != Op::batchNorm) return;
    Node fused = graph_.nodes[at];
    auto& attributes = fused.attrs<ops::BatchNorm::Attributes>();
    if (attributes.activation >= 0 || fused.outputs[0] != normal) return;
    attributes.activation = static_cast<int32_t>(unary.op);
    attributes.activation_attributes = unary.attrs<ElementwiseAttributes>();
    fused.outputs[0] = unary.outputs[0];
    put_node(graph_, at, std::move(fused));
    retire_node(graph_, index);
  }

  /// norm(a + b) takes the place of a + b.
  void fuse_forward(size_t index) {
    const Node& norm = graph_.nodes[index];
    const bool has_residual = norm.inputs.size() > ops::RowNormBase::kResidual;
    const size_t at = producer(norm.inputs[0]);
    if (has_residual || at >= graph_.nodes.size() || graph_.nodes[at].op != Op::add) return;
    const ValueId sum = norm.inputs[0];
    const ValueId a = graph_.nodes[at].inputs[0];
    const ValueId b = graph_.nodes[at].inputs[1];
    if (!same_shapes(a, sum) || !same_shapes(b, sum)) return;
    for (size_t i = 1; i < norm.inputs.size(); ++i) {
      if (!is_before(norm.inputs[i], at)) return;
    }
    Node fused = norm;
    fused.inputs.resize(ops::RowNormBase::kResidual, kNoValue);
    fused.inputs[0] = a;
    fused.inputs.push_back(b);
    if (uses_[static_cast<size_t>(sum)] > 1) fused.outputs.push_back(sum);
    put_node(graph_, at, std::move(fused));
    retire_node(graph_, index);
  }

  /// residual + normGrad(...) becomes normGrad(..., residual).
  void fuse_backward(size_t index) {
    for (const size_t side : {size_t{0}, size_t{1}}) {
      const Node& add = graph_.nodes[index];
      const ValueId dx = add.inputs[side];
      const ValueId residual = add.inputs[1 - side];
      const size_t at = producer(dx);
      if (at >= graph_.nodes.size() || !is_norm_grad(graph_.nodes[at])) continue;
      Node& grad = graph_.nodes[at];
      const bool fits = grad.outputs[0] == dx && uses_[static_cast<size_t>(dx)] == 1 &&
                        grad.inputs[ops::RowNormGradBase::kResidual] == kNoValue &&
                        same_shapes(residual, dx) && is_before(residual, at);
      if (!fits) continue;
      Node fused = grad;
      fused.inputs[ops::RowNormGradBase::kResidual] = residual;
      fused.outputs[0] = add.outputs[0];
      put_node(graph_, at, std::move(fused));
      retire_node(graph_, index);
      return;
    }
  }

  Graph& graph_;
  std::vector<int> uses_;
};

}  // namespace

void fuse_norms(Graph& graph) { NormFuser(graph).run(); }

}  // namespace tandem
