#include "core/fuse_pooled_norms.h"

#include "core/ops/pooled_norm.h"
#include "core/rewrite.h"

namespace tandem {
namespace {

using ops::PooledNorm;
using ops::PooledNormGrad;

class PoolFuser {
 public:
  explicit PoolFuser(Graph& graph) : graph_(graph), uses_(graph.count_uses()) {}

  void run() {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (graph_.nodes[i].op == Op::maxPool2d) fuse_forward(i);
      if (graph_.nodes[i].op == Op::batchNormGrad) fuse_backward(i);
    }
    graph_.remove_dead_nodes();
  }

 private:
  /// The node of this kind that computes `id` for one reader alone; past the end where there is
  /// none.
  [[nodiscard]] size_t sole_producer(ValueId id, Op op) const {
    const Node* node = graph_.producer(id);
    if (node == nullptr || node->op != op || node->outputs[0] != id) return graph_.nodes.size();
    if (uses_[static_cast<size_t>(id)] != 1) return graph_.nodes.size();
    return static_cast<size_t>(graph_.value(id).index);
  }

  [[nodiscard]] bool has_small_planes(ValueId x) const {
    const Tensor& tensor = graph_.tensor(x);
    return tensor.dims[2] * tensor.dims[3] <= ops::kLargestPooledPlane;
  }

  void fuse_forward(size_t index) {
    const Node& pool = graph_.nodes[index];
    const size_t at =
        pool.outputs.empty() ? graph_.nodes.size() : sole_producer(pool.inputs[0], Op::batchNorm);
    if (at >= graph_.nodes.size()) return;
    const Node& norm = graph_.nodes[at];
    if (norm.inputs.size() > ops::BatchNorm::kResidual || !has_small_planes(norm.inputs[0])) return;
    Node fused = norm;
    fused.op = Op::pooledNorm;
    fused.attributes = make_attributes(Op::pooledNorm, {});
    fused.attrs<PooledNorm::Attributes>() = {norm.attrs<ops::BatchNormAttributes>(),
                                             pool.attrs<ops::PoolAttributes>()};
    fused.outputs[0] = pool.outputs[0];
    if (pool.outputs.size() > 1) fused.outputs.push_back(pool.outputs[1]);
    put_node(graph_, at, std::move(fused));
    retire_node(graph_, index);
  }

  void fuse_backward(size_t index) {
    const Node& norm = graph_.nodes[index];
    const size_t at = norm.outputs.empty() ? graph_.nodes.size()
                                           : sole_producer(norm.inputs[0], Op::maxPool2dGrad);
    if (at >= graph_.nodes.size() || !has_small_planes(norm.inputs[1])) return;
    const Node& pool = graph_.nodes[at];
    Node fused = norm;
    fused.op = Op::pooledNormGrad;
    fused.attributes = make_attributes(Op::pooledNormGrad, {});
    fused.attrs<PooledNormGrad::Attributes>() = {norm.attrs<ops::BatchNormGrad::Attributes>(),
                                                 pool.attrs<ops::PoolAttributes>()};
    fused.inputs[0] = pool.inputs[1];
    fused.inputs.insert(fused.inputs.begin(), pool.inputs[0]);
    put_node(graph_, index, std::move(fused));
    retire_node(graph_, at);
  }

  Graph& graph_;
  std::vector<int> uses_;
};

}  // namespace

void fuse_pooled_norms(Graph& graph) { PoolFuser(graph).run(); }

}  // namespace tandem
