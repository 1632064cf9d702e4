#include "core/autodiff.h"

namespace tandem {
namespace {

class Backward {
 public:
  Backward(Graph& graph, const std::vector<Seed>& seeds, const std::vector<ValueId>& wrt)
      : graph_(graph), forward_nodes_(graph.nodes.size()), gradient_(graph.values.size()) {
    mark_dependents(wrt);
    for (const Seed& seed : seeds) accumulate(seed.value, {graph_, seed.cotangent});
  }

  void run() {
    for (size_t i = forward_nodes_; i-- > 0;) visit(i);
  }

  [[nodiscard]] ValueId gradient(ValueId id) const {
    return gradient_[static_cast<size_t>(id)].id();
  }

 private:
  void mark_dependents(const std::vector<ValueId>& wrt) {
    depends_.assign(graph_.values.size(), 0);
    for (const ValueId id : wrt) depends_[static_cast<size_t>(id)] = 1;
    for (const Node& node : graph_.nodes) {
      for (const ValueId in : node.inputs) {
        if (in == kNoValue || depends_[static_cast<size_t>(in)] == 0) continue;
        for (const ValueId out : node.outputs) {
          if (graph_.tensor(out).dtype == DType::kFloat32) depends_[static_cast<size_t>(out)] = 1;
        }
      }
    }
  }

  void accumulate(ValueId id, const Expr& gradient) {
    if (id == kNoValue || gradient.empty() || depends_[static_cast<size_t>(id)] == 0) return;
    Expr& sum = gradient_[static_cast<size_t>(id)];
    sum = sum.empty() ? gradient : sum + gradient;
  }

  void visit(size_t index) {
    const Node& node = graph_.nodes[index];
    std::vector<Expr> dy;
    bool reached = false;
    for (const ValueId out : node.outputs) {
      dy.push_back(gradient_[static_cast<size_t>(out)]);
      reached = reached || !dy.back().empty();
    }
    if (!reached) return;
    std::vector<char> wanted;
    bool any = false;
    for (const ValueId in : node.inputs) {
      wanted.push_back(in == kNoValue ? char{0} : depends_[static_cast<size_t>(in)]);
      any = any || wanted.back() != 0;
    }
    if (!any) return;
    const OpInfo& op = info(node.op);
    if (op.grad == nullptr) {
      fail(ErrorCode::kArgument, std::string("expected ops with a gradient, received ") + op.name);
    }
    GradContext context(graph_, node, std::move(dy), std::move(wanted));
    op.grad(context);
    for (size_t i = 0; i < context.node().inputs.size(); ++i) {
      accumulate(context.node().inputs[i], context.gradients()[i]);
    }
  }

  Graph& graph_;
  size_t forward_nodes_;
  std::vector<char> depends_;
  std::vector<Expr> gradient_;
};

}  // namespace

std::vector<ValueId> add_gradients(Graph& graph, const std::vector<Seed>& seeds,
                                   const std::vector<ValueId>& wrt) {
  Backward backward(graph, seeds, wrt);
  backward.run();
  std::vector<ValueId> result;
  result.reserve(wrt.size());
  for (const ValueId id : wrt) result.push_back(backward.gradient(id));
  return result;
}

}  // namespace tandem
