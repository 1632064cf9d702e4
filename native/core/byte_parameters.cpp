#include "core/byte_parameters.h"

#include <algorithm>
#include <cstring>

namespace tandem {
namespace {

/// Which parameter the node has as a weight of bytes; -1 for none.
int64_t weight_of(const GraphDescription& graph, const NodeDescription& node) {
  if (node.quantization == nullptr || !node.quantization->weight_is_bytes) return -1;
  return node.inputs[1] - static_cast<int64_t>(graph.inputs.size());
}

/// The scales of each parameter of bytes, by the first graph that reads it; null for others.
std::vector<std::shared_ptr<const Quantization>> find_scales(
    const std::vector<GraphDescription>& graphs) {
  std::vector<std::shared_ptr<const Quantization>> found(graphs.front().parameters.size());
  for (const GraphDescription& graph : graphs) {
    for (const NodeDescription& node : graph.nodes) {
      const int64_t weight = weight_of(graph, node);
      if (weight >= 0) found[static_cast<size_t>(weight)] = node.quantization;
    }
  }
  return found;
}

void expand(const ParameterDescription& parameter, const Quantization* quantization,
            const std::byte* from, std::byte* to) {
  const Tensor tensor = make_tensor(parameter.shape, DType::kFloat32);
  if (!parameter.is_bytes) {
    if (tensor.numel > 0) std::memcpy(to, from, static_cast<size_t>(byte_size(tensor)));
    return;
  }
  if (quantization == nullptr || tensor.numel == 0) return;  // nobody reads it
  const auto rows = static_cast<size_t>(parameter.shape[0]);
  if (quantization->weight_scales.size() != rows)
    fail(ErrorCode::kArgument, "expected a scale for each row of a weight of bytes");
  const int64_t each = tensor.numel / parameter.shape[0];
  const auto* bytes = reinterpret_cast<const int8_t*>(from);
  auto* floats = reinterpret_cast<float*>(to);
  for (const float scale : quantization->weight_scales) {
    for (int64_t i = 0; i < each; ++i) *floats++ = static_cast<float>(*bytes++) * scale;
  }
}

}  // namespace

void expand_bytes(HostParameters& parameters, std::vector<GraphDescription>& graphs) {
  const std::vector<ParameterDescription> before = graphs.front().parameters;
  const auto is_bytes = [](const ParameterDescription& one) { return one.is_bytes; };
  if (std::none_of(before.begin(), before.end(), is_bytes)) return;
  // throws unless all numbers and readers are right
  for (const GraphDescription& graph : graphs) instantiate(graph, kSampleRows, false);
  const auto scales = find_scales(graphs);
  for (GraphDescription& graph : graphs) {
    for (NodeDescription& node : graph.nodes) {
      if (weight_of(graph, node) < 0) continue;
      auto plain = std::make_shared<Quantization>(*node.quantization);
      plain->weight_is_bytes = false;
      node.quantization = std::move(plain);
    }
    for (ParameterDescription& parameter : graph.parameters) parameter.is_bytes = false;
  }
  ParameterLayout layout = make_layout(graphs.front().parameters);
  Memory memory = cpu_backend().allocate(layout.bytes);
  for (size_t i = 0; i < before.size(); ++i) {
    expand(before[i], scales[i].get(), parameters.memory.data.get() + parameters.layout.offsets[i],
           memory.data.get() + layout.offsets[i]);
  }
  if (parameters.file != nullptr) parameters.file->check();
  parameters = {std::move(memory), std::move(layout), nullptr};
}

}  // namespace tandem
