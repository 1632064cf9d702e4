#include "core/training_graph.h"

#include "core/autodiff.h"
#include "core/backend.h"
#include "core/chains.h"
#include "core/fuse.h"
#include "core/fuse_pooled_norms.h"
#include "core/recompute.h"

namespace tandem {

std::vector<ValueId> add_parameter_gradients(Graph& graph, const GraphDescription& description,
                                             const std::vector<int32_t>& group_of,
                                             bool scales_loss) {
  const auto changes = [&](size_t i) {
    return description.parameters[i].trainable && group_of[i] != UpdateOptions::kFrozen;
  };
  std::vector<ValueId> wrt;
  for (size_t i = 0; i < description.parameters.size(); ++i) {
    if (changes(i)) wrt.push_back(graph.parameters[i]);
  }
  const ValueId loss = graph.outputs[0];
  ValueId one = graph.scalar(1.0F);
  if (scales_loss) one = graph.apply(Op::lossScale, {one});
  if (graph.tensor(loss).rank != 0)
    one = broadcast_to({graph, one}, shape_of(graph.tensor(loss))).id();
  const std::vector<ValueId> gradients = add_gradients(graph, {{loss, one}}, wrt);
  std::vector<ValueId> by_parameter(description.parameters.size(), kNoValue);
  size_t next = 0;
  for (size_t i = 0; i < by_parameter.size(); ++i) {
    if (changes(i)) by_parameter[i] = gradients[next++];
  }
  return by_parameter;
}

Graph training_graph(const GraphDescription& description, int64_t batch,
                     const ParameterLayout& layout, const UpdateOptions& options, int segments,
                     const Backend& backend, std::vector<Pin>& pins) {
  Graph graph = instantiate(description, batch, true);
  const ValueId loss = graph.outputs[0];
  const std::vector<ValueId> gradients =
      add_parameter_gradients(graph, description, options.group_of, options.scales_loss);
  for (size_t i = 0; i < gradients.size(); ++i) {
    if (gradients[i] == kNoValue) continue;
    pins.push_back({gradients[i], {Space::kGradients, static_cast<int32_t>(i), layout.offsets[i]}});
  }
  // a gradient is read by the optimizer through its arena, so nothing in the graph may drop it
  const std::vector<ValueId> outputs = graph.outputs;
  std::vector<ValueId> all = outputs;
  for (const Pin& pin : pins) all.push_back(pin.value);
  graph.outputs = all;
  fuse(graph, backend);
  graph.outputs = outputs;
  recompute_activations(graph, segments);
  graph.outputs = std::move(all);
  // Nodes that are computed again are known by now, and none of them moves running statistics.
  if (backend.supports(Op::pooledNorm)) fuse_pooled_norms(graph);
  if (backend.supports(Op::chain)) fuse_chains(graph);
  graph.outputs = outputs;
  separate_pins(graph, pins);
  if (options.apart) {
    add_accumulation(graph, loss, layout, options);
  } else {
    add_updates(graph, pins, loss, description.parameters, layout, options);
  }
  return graph;
}

std::vector<int> segment_counts(size_t forward_nodes) {
  std::vector<int> counts{1};
  for (const int count : {2, 3, 4, 6, 8, 12, 16, 24, 32, 48}) {
    if (static_cast<size_t>(count) <= forward_nodes) counts.push_back(count);
  }
  return counts;
}

}  // namespace tandem
