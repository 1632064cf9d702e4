#include "core/fuse_pools.h"

#include <optional>

#include "core/ops/fused_conv.h"
#include "core/ops/pooled_conv.h"
#include "core/ops/pooling.h"

namespace tandem {
namespace {

using ops::FusedConv;
using ops::PooledConv;

/// Whether the windows are of 2 x 2, side by side, and all of them within the plane.
bool pools_pairs(const Node& node) {
  if (node.op != Op::maxPool2d || node.outputs.size() != 1) return false;
  const auto& pool = node.attrs<ops::PoolAttributes>();
  const auto is = [](const IntPair& pair, int64_t n) {
    return pair.height == n && pair.width == n;
  };
  return is(pool.kernel, 2) && is(pool.stride, 2) && is(pool.padding, 0) && !pool.save_indices;
}

/// The attributes of what computes `node` and its maxima; none where nothing does.
std::optional<PooledConv::Attributes> pooled(const Node& node) {
  if (node.quantization != nullptr) return std::nullopt;
  if (node.op == Op::conv2d)
    return PooledConv::Attributes{node.attrs<ops::ConvAttributes>(), false};
  if (node.op != Op::fusedConv || node.outputs.size() != 1) return std::nullopt;
  const auto& fused = node.attrs<FusedConv::Attributes>();
  const bool adds =
      node.inputs.size() > FusedConv::kResidual && node.inputs[FusedConv::kResidual] != kNoValue;
  if (fused.transposed || adds || fused.activation != static_cast<int32_t>(Op::relu))
    return std::nullopt;
  return PooledConv::Attributes{fused.conv, true};
}

}  // namespace

void fuse_pools(Graph& graph) {
  const std::vector<int> uses = graph.count_uses();
  for (Node& pool : graph.nodes) {
    if (!pools_pairs(pool)) continue;
    const ValueId sums = pool.inputs[0];
    const Value& value = graph.value(sums);
    if (value.kind != ValueKind::kNode || uses[static_cast<size_t>(sums)] != 1) continue;
    if (graph.tensor(sums).rank != 4) continue;
    Node& product = graph.nodes[static_cast<size_t>(value.index)];
    const auto attributes = pooled(product);
    if (!attributes) continue;
    product.op = Op::pooledConv;
    product.attributes = make_attributes(Op::pooledConv, {});
    product.attrs<PooledConv::Attributes>() = *attributes;
    if (product.inputs.size() > 3) product.inputs.resize(3);
    product.outputs = {pool.outputs[0]};
    graph.values[static_cast<size_t>(pool.outputs[0])].index = value.index;
    // A node without outputs and effects is dead.
    pool.outputs.clear();
    pool.inputs.clear();
    pool.op = Op::copy;
  }
  graph.remove_dead_nodes();
}

}  // namespace tandem
