// Reverse-mode differentiation: gradients are ops of the same graph, appended behind it.
#pragma once

#include <vector>

#include "core/expr.h"

namespace tandem {

/// What an op's grad() sees: the node, the gradients of its outputs, and where to put those of its
/// inputs. Only gradients that `wants` asks for need to be set.
class GradContext {
 public:
  GradContext(Graph& graph, const Node& node, std::vector<Expr> output_gradients,
              std::vector<char> wanted)
      : graph_(graph),
        node_(node),
        dy_(std::move(output_gradients)),
        wanted_(std::move(wanted)),
        dx_(node_.inputs.size()) {}

  [[nodiscard]] Graph& graph() { return graph_; }
  [[nodiscard]] const Node& node() const { return node_; }
  template <typename T>
  [[nodiscard]] const T& attributes() const {
    return node_.attrs<T>();
  }
  [[nodiscard]] Expr input(size_t i) {
    return {graph_, i < node_.inputs.size() ? node_.inputs[i] : kNoValue};
  }
  [[nodiscard]] Expr output(size_t i = 0) { return {graph_, node_.outputs[i]}; }
  /// Gradient of output `i`; empty when nothing depends on it.
  [[nodiscard]] const Expr& dy(size_t i = 0) const { return dy_[i]; }
  [[nodiscard]] bool wants(size_t i) const { return i < wanted_.size() && wanted_[i] != 0; }
  void set(size_t i, const Expr& gradient) { dx_[i] = gradient; }
  [[nodiscard]] const std::vector<Expr>& gradients() const { return dx_; }

 private:
  Graph& graph_;
  const Node node_;  // a copy: appending gradient nodes moves the graph's own
  std::vector<Expr> dy_;
  std::vector<char> wanted_;
  std::vector<Expr> dx_;
};

struct Seed {
  ValueId value;
  ValueId cotangent;  ///< gradient of the final scalar with respect to `value`, of its shape
};

/// Appends the backward pass for `seeds` and returns the gradient of each of `wrt`, kNoValue where
/// nothing depends on it. Throws ERR_ARGUMENT when an op on the way has no gradient.
std::vector<ValueId> add_gradients(Graph& graph, const std::vector<Seed>& seeds,
                                   const std::vector<ValueId>& wrt);

}  // namespace tandem
