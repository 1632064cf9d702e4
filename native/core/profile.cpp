#include "core/profile.h"

#include <algorithm>
#include <cmath>

#include "core/ops/attention.h"
#include "core/ops/chain.h"
#include "core/ops/fused_conv.h"
#include "core/ops/fused_matmul.h"
#include "core/ops/pooled_conv.h"
#include "core/ops/product_update.h"
#include "core/ops/quantized.h"

namespace tandem {
namespace {

bool is_product(Op op) {
  return op == Op::linear || op == Op::quantizedLinear || op == Op::matmul ||
         op == Op::fusedMatmul || op == Op::productUpdate;
}

double product_flops(const Graph& graph, const Node& node) {
  const Tensor& a = graph.tensor(node.inputs[0]);
  const bool updates = node.op == Op::productUpdate;
  const Tensor& y = graph.tensor(updates ? node.inputs[2] : node.outputs[0]);
  bool trans_a = false;
  if (node.op == Op::matmul) trans_a = node.attrs<ops::MatMul::Attributes>().trans_a;
  if (node.op == Op::fusedMatmul) trans_a = node.attrs<ops::FusedMatMul::Attributes>().trans_a;
  if (updates) trans_a = node.attrs<ops::ProductUpdate::Attributes>().trans_a;
  const auto inner = static_cast<double>(a.dims[trans_a ? a.rank - 2 : a.rank - 1]);
  return 2.0 * static_cast<double>(y.numel) * inner;
}

/// The products of the steps of a recurrence.
double recurrent_flops(const Graph& graph, const Node& node) {
  const bool forward = node.op == Op::lstm || node.op == Op::gru || node.op == Op::quantizedLstm ||
                       node.op == Op::quantizedGru;
  if (!forward && node.op != Op::lstmGrad && node.op != Op::gruGrad) return 0;
  const size_t weights = forward ? 1 : node.op == Op::lstmGrad ? 2 : 3;
  const Tensor& gates = graph.tensor(node.inputs[0]);
  const Tensor& w = graph.tensor(node.inputs[weights]);
  return 2.0 * static_cast<double>(gates.numel) * static_cast<double>(w.dims[1]);
}

/// Two products with the scores of every query and key, and five for the gradients; a causal one
/// takes half.
double attention_flops(const Graph& graph, const Node& node) {
  const bool backward = node.op == Op::attentionGrad;
  const Tensor& y = graph.tensor(backward ? node.inputs[4] : node.outputs[0]);
  const bool has_keys = node.inputs.size() > 1 && node.inputs[1] != kNoValue;
  const Tensor& keys = graph.tensor(node.inputs[has_keys ? 1 : 0]);
  const auto& attributes = node.attrs<ops::Attention::Attributes>();
  const auto count = static_cast<double>(keys.dims[attributes.heads == 0 ? 2 : 1]);
  const double product = 2.0 * static_cast<double>(y.numel) * count;
  return product * (backward ? 5 : 2) * (attributes.causal ? 0.5 : 1.0);
}

/// Of the definition: what kernels save, as for kernels of 3 x 3, counts too.
double convolution_flops(const Graph& graph, const Node& node) {
  if (node.op == Op::pooledConv) {
    const Tensor& w = graph.tensor(node.inputs[1]);
    const auto& attributes = node.attrs<ops::PooledConv::Attributes>();
    const IntPair plane = ops::PooledConv::plane(shape_of(graph.tensor(node.inputs[0])),
                                                 shape_of(w), attributes.conv);
    const double pixels = static_cast<double>(graph.tensor(node.outputs[0]).dims[0]) *
                          static_cast<double>(plane.height) * static_cast<double>(plane.width);
    return 2.0 * pixels * static_cast<double>(w.numel);
  }
  const bool fused = node.op == Op::fusedConv;
  const bool transposed = fused && node.attrs<ops::FusedConv::Attributes>().transposed;
  const bool forward = node.op == Op::conv1d || node.op == Op::conv2d ||
                       node.op == Op::quantizedConv || (fused && !transposed);
  const bool backward = node.op == Op::convDataGrad || node.op == Op::convTranspose2d || transposed;
  const bool weights = node.op == Op::convWeightGrad;
  if (!forward && !backward && !weights) return 0;
  const Tensor& w = graph.tensor(weights ? node.outputs[0] : node.inputs[1]);
  const Tensor& y = graph.tensor(forward    ? node.outputs[0]
                                 : backward ? node.inputs[0]
                                            : node.inputs[1]);
  const int64_t weights_each = w.numel / w.dims[0];  // of one output channel
  return 2.0 * static_cast<double>(y.numel) * static_cast<double>(weights_each);
}

}  // namespace

double count_flops(const Graph& graph) {
  double total = 0;
  for (const Node& node : graph.nodes) {
    if ((info(node.op).flags & kAlias) != 0) continue;
    if (is_product(node.op)) total += product_flops(graph, node);
    total += recurrent_flops(graph, node) + convolution_flops(graph, node);
    if (node.op == Op::attention || node.op == Op::attentionGrad ||
        node.op == Op::quantizedAttention)
      total += attention_flops(graph, node);
    if (node.op == Op::chain) {
      const auto steps = static_cast<double>(node.attrs<ops::Chain::Attributes>().count);
      total += steps * static_cast<double>(graph.tensor(node.outputs[0]).numel);
      continue;
    }
    // one operation an element of the largest operand for everything else, epilogues included
    int64_t largest = 0;
    for (const ValueId id : node.outputs) largest = std::max(largest, graph.tensor(id).numel);
    if (!is_product(node.op) || node.op == Op::productUpdate) {
      for (const ValueId id : node.inputs) {
        if (id != kNoValue) largest = std::max(largest, graph.tensor(id).numel);
      }
    }
    total += static_cast<double>(largest);
  }
  return total;
}

void LatencyWindow::add(double milliseconds) noexcept {
  const size_t count = count_.load(std::memory_order_relaxed);
  samples_[count % kSize].store(static_cast<float>(milliseconds), std::memory_order_relaxed);
  count_.store(count + 1, std::memory_order_release);
}

void LatencyWindow::note(double milliseconds) noexcept {
  constexpr double kBriefMs = 0.005;
  constexpr int kOneIn = 16;
  constexpr double kForgetting = 1.1;
  add(milliseconds);
  expected_ms_ = std::min(milliseconds, kForgetting * expected_ms_);
  untimed_ = milliseconds < kBriefMs ? kOneIn : 0;
}

void LatencyWindow::collect(std::vector<float>& samples) const {
  const size_t count = std::min(count_.load(std::memory_order_acquire), kSize);
  for (size_t i = 0; i < count; ++i) {
    samples.push_back(samples_[i].load(std::memory_order_relaxed));
  }
}

double percentile(std::vector<float> samples, double p) {
  if (samples.empty()) return 0;
  const auto last = static_cast<double>(samples.size() - 1);
  const auto rank = static_cast<std::ptrdiff_t>(std::min(std::floor(p * (last + 1)), last));
  std::nth_element(samples.begin(), samples.begin() + rank, samples.end());
  return static_cast<double>(samples[static_cast<size_t>(rank)]);
}

}  // namespace tandem
