#include "core/non_finite.h"

#include <algorithm>
#include <cmath>

#include "core/training_graph.h"

namespace tandem {
namespace {

bool is_finite(const void* data, int64_t count) {
  const auto* floats = static_cast<const float*>(data);
  return std::all_of(floats, floats + count, [](float x) { return std::isfinite(x); });
}

std::string quoted(const std::string& name) { return "`" + name + "`"; }

/// The parameters that a node reads, which say where in a model it is.
std::string reading(const GraphDescription& description, const Graph& graph, const Node& node) {
  std::string names;
  for (const ValueId id : node.inputs) {
    if (id == kNoValue || graph.value(id).kind != ValueKind::kParameter) continue;
    names += names.empty() ? " with " : " and ";
    names += quoted(description.parameters[static_cast<size_t>(graph.value(id).index)].name);
  }
  return names;
}

/// What is fed: inputs, then parameters. Empty when all of it is finite.
std::string check_leaves(const NonFiniteSearch& search, const Graph& graph,
                         const std::vector<const void*>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& tensor = graph.tensor(graph.inputs[i]);
    if (tensor.dtype == DType::kFloat32 && !is_finite(inputs[i], tensor.numel))
      return "input " + quoted(search.description.inputs[i].name);
  }
  std::vector<float> copy;
  for (size_t i = 0; i < search.description.parameters.size(); ++i) {
    const Tensor& tensor = graph.tensor(graph.parameters[i]);
    copy.resize(static_cast<size_t>(tensor.numel));
    search.backend.copy(reinterpret_cast<std::byte*>(copy.data()),
                        search.parameters + search.layout.offsets[i], byte_size(tensor),
                        CopyKind::kToHost);
    if (!is_finite(copy.data(), tensor.numel))
      return "parameter " + quoted(search.description.parameters[i].name);
  }
  return {};
}

/// Makes every float that a node computes an output of the graph; their numbers of nodes.
std::vector<size_t> show_everything(Graph& graph) {
  graph.outputs.clear();
  std::vector<size_t> producers;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if ((info(node.op).flags & (kAlias | kEffect)) != 0) continue;
    for (const ValueId id : node.outputs) {
      if (graph.tensor(id).dtype != DType::kFloat32) continue;
      graph.outputs.push_back(id);
      producers.push_back(i);
    }
  }
  return producers;
}

}  // namespace

std::string find_non_finite(const NonFiniteSearch& search, int64_t batch,
                            const std::vector<const void*>& inputs, StepState state) {
  Graph graph = instantiate(search.description, batch, true);
  std::string leaf = check_leaves(search, graph, inputs);
  if (!leaf.empty()) return leaf;
  const ValueId last = graph.nodes.empty() ? kNoValue : graph.nodes.back().outputs[0];
  add_parameter_gradients(graph, search.description, search.group_of,
                          search.precision == Precision::kFp16Mixed);
  use_precision(graph, search.precision, search.backend);
  const std::vector<size_t> producers = show_everything(graph);
  const size_t forward = last == kNoValue ? 0 : static_cast<size_t>(graph.value(last).index) + 1;
  const Plan plan = make_plan(std::move(graph), search.layout, {}, search.backend);
  const auto executable = search.backend.compile(
      {plan, {search.parameters, nullptr, nullptr}, search.threads, nullptr});
  const Memory arena = search.backend.allocate(plan.arena_bytes);
  executable->bind_arena(arena.data.get());
  for (size_t i = 0; i < inputs.size(); ++i) executable->bind_input(i, inputs[i]);
  std::vector<Memory> outputs;
  for (size_t i = 0; i < producers.size(); ++i) {
    outputs.push_back(cpu_backend().allocate(byte_size(plan.graph.tensor(plan.graph.outputs[i]))));
    executable->bind_output(i, outputs.back().data.get());
  }
  executable->run(state);
  for (size_t i = 0; i < producers.size(); ++i) {
    if (is_finite(outputs[i].data.get(), plan.graph.tensor(plan.graph.outputs[i]).numel)) continue;
    const Node& node = plan.graph.nodes[producers[i]];
    return std::string("op ") + quoted(name(node.op)) +
           reading(search.description, plan.graph, node) +
           (producers[i] < forward ? " of the forward pass" : " of the backward pass");
  }
  return {};
}

}  // namespace tandem
