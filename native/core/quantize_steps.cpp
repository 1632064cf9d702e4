#include "core/quantize_steps.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/ops/fused_conv.h"
#include "core/ops/fused_matmul.h"
#include "core/ops/reduce.h"
#include "core/quantize.h"

namespace tandem::quantized {

bool is_linear(const Node& node) {
  return node.op == Op::linear ||
         (node.op == Op::fusedMatmul && node.attrs<ops::FusedMatMul::Attributes>().linear);
}

bool is_convolution(const Node& node) {
  return node.op == Op::conv1d || node.op == Op::conv2d ||
         (node.op == Op::fusedConv && !node.attrs<ops::FusedConv::Attributes>().transposed);
}

bool is_recurrent(const Node& node) { return node.op == Op::lstm || node.op == Op::gru; }

bool passes_bytes(const Node& node) {
  if (node.op == Op::maxPool2d) return !saves_pre(node);
  return node.op == Op::relu || node.op == Op::reshape || node.op == Op::flatten;
}

bool means_planes(const Graph& graph, const Node& node, int32_t rank) {
  if (node.op != Op::mean || graph.tensor(node.inputs[0]).rank != rank) return false;
  const IntList& axes = node.attrs<ops::Mean::Attributes>().axes;
  if (axes.count != rank - 2) return false;
  for (int32_t i = 0; i < axes.count; ++i) {
    if (axes.values[i] != i + 2) return false;
  }
  return true;
}

namespace {

bool adds_equal_shapes(const Graph& graph, const Node& node) {
  if (node.op != Op::add) return false;
  const Tensor& y = graph.tensor(node.outputs[0]);
  return same_shape(graph.tensor(node.inputs[0]), y) && same_shape(graph.tensor(node.inputs[1]), y);
}

[[noreturn]] void refuse(const Node& node, const char* expected) {
  fail(ErrorCode::kArgument, std::string("expected ") + expected + " for the quantization of " +
                                 name(node.op) + ", received another");
}

/// Whether the node reads its first input as bytes.
bool reads_bytes(const Node& node) {
  return node.quantization != nullptr && node.quantization->mode == QuantizationMode::kStatic &&
         (is_linear(node) || is_convolution(node));
}

/// The steps in which `reader` takes value `id`; none where it wants floats. `targets` are there
/// for what later nodes read.
std::optional<Steps> wanted(const Node& reader, ValueId id,
                            const std::vector<std::optional<Steps>>& targets) {
  if (reader.inputs[0] != id || std::count(reader.inputs.begin(), reader.inputs.end(), id) != 1)
    return std::nullopt;
  if (reads_bytes(reader)) return Steps{reader.quantization->scale, reader.quantization->zero};
  if (!passes_bytes(reader)) return std::nullopt;
  const std::optional<Steps> behind = targets[static_cast<size_t>(reader.outputs[0])];
  // Nothing is below a zero point of 0: bytes are the result of a relu already.
  if (behind && reader.op == Op::relu && behind->zero != 0) return std::nullopt;
  return behind;
}

}  // namespace

bool reads_any_steps(const Graph& graph, const Node& node) {
  return adds_equal_shapes(graph, node) || node.op == Op::avgPool2d || means_planes(graph, node, 4);
}

void check(const Graph& graph, const Node& node) {
  if (node.quantization == nullptr) return;
  const Quantization& q = *node.quantization;
  if (!(q.scale > 0) || !std::isfinite(q.scale) || q.zero < 0 || q.zero > 255)
    refuse(node, "a scale above 0 and a zero point from 0 to 255");
  if (node.op == Op::attention) return;
  const bool conv = is_convolution(node);
  const bool recurrent = is_recurrent(node);
  if (!is_linear(node) && !conv && !recurrent && node.op != Op::embedding)
    refuse(node, "linear, conv1d, conv2d, lstm, gru, embedding or attention");
  const Value& weight = graph.value(node.inputs[1]);
  if (weight.kind != ValueKind::kParameter) refuse(node, "a weight that is a parameter");
  if (conv && q.mode == QuantizationMode::kDynamic)
    refuse(node, "a scale from calibration, or weights alone,");
  if (recurrent && q.mode == QuantizationMode::kStatic)
    refuse(node, "ranges of rows, or weights alone,");
  const auto fits = [](float scale) { return scale > 0 && std::isfinite(scale); };
  const bool all = static_cast<int64_t>(q.weight_scales.size()) == weight.tensor.dims[0] &&
                   std::all_of(q.weight_scales.begin(), q.weight_scales.end(), fits);
  if (!all) refuse(node, "a scale above 0 for each row of the weight");
}

std::vector<std::optional<Steps>> find_targets(const Graph& graph, const std::vector<Node>& nodes,
                                               bool sums_of_bytes) {
  std::vector<std::optional<Steps>> targets(graph.values.size());
  std::vector<char> read(graph.values.size(), 0);
  for (const ValueId id : graph.outputs) read[static_cast<size_t>(id)] = 1;
  for (size_t i = nodes.size(); i-- > 0;) {
    if (sums_of_bytes && reads_any_steps(graph, nodes[i])) continue;
    for (const ValueId id : nodes[i].inputs) {
      if (id == kNoValue) continue;
      const std::optional<Steps> steps = wanted(nodes[i], id, targets);
      auto& target = targets[static_cast<size_t>(id)];
      if (read[static_cast<size_t>(id)] == 0) {
        target = steps;
      } else if (target != steps) {
        target.reset();
      }
      read[static_cast<size_t>(id)] = 1;
    }
  }
  return targets;
}

}  // namespace tandem::quantized
