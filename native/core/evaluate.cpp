#include "core/evaluate.h"

#include "core/autodiff.h"
#include "core/fuse.h"
#include "core/rounded_factors.h"

namespace tandem {
namespace {

Evaluation run(Graph graph, const ParameterLayout& layout, const ParameterStore& parameters,
               const std::vector<const void*>& feeds, const EvaluateOptions& options,
               const Backend& backend) {
  fuse(graph, backend);
  use_precision(graph, options.precision, backend);
  share_rounded_factors(graph, {}, backend, false);
  const Plan plan = make_plan(std::move(graph), layout, {}, backend);
  const Memory resident = parameters.resident(backend);
  const auto executable =
      backend.compile({plan, {resident.data.get(), nullptr, nullptr}, options.threads, nullptr});
  const Memory arena = backend.allocate(plan.arena_bytes);
  executable->bind_arena(arena.data.get());
  for (size_t i = 0; i < feeds.size(); ++i) executable->bind_input(i, feeds[i]);
  Evaluation result;
  for (size_t i = 0; i < plan.graph.outputs.size(); ++i) {
    result.tensors.push_back(plan.graph.tensor(plan.graph.outputs[i]));
    result.outputs.push_back(cpu_backend().allocate(byte_size(result.tensors.back())));
    executable->bind_output(i, result.outputs.back().data.get());
  }
  StepState state{};
  state.seed = options.seed;
  state.step = 1;
  state.clip = 1.0F;
  executable->run(state);
  return result;
}

}  // namespace

Evaluation evaluate(const GraphDescription& description, int64_t batch,
                    const std::vector<const void*>& feeds, const EvaluateOptions& options,
                    const Backend& backend) {
  const ParameterStore parameters(description.parameters, options.seed);
  Graph graph = instantiate(description, batch, options.training);
  return run(std::move(graph), parameters.layout(), parameters, feeds, options, backend);
}

Evaluation vjp(const GraphDescription& description, int64_t batch,
               const std::vector<const void*>& feeds, const std::vector<const float*>& cotangents,
               const std::vector<int64_t>& wrt, const EvaluateOptions& options,
               const Backend& backend) {
  const ParameterStore parameters(description.parameters, options.seed);
  std::vector<ValueId> ids;
  Graph graph = instantiate(description, batch, options.training, &ids);
  std::vector<Seed> seeds;
  std::vector<const void*> all_feeds = feeds;
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    if (i >= cotangents.size() || cotangents[i] == nullptr) continue;
    const Tensor tensor = graph.tensor(graph.outputs[i]);
    if (tensor.dtype != DType::kFloat32)
      fail(ErrorCode::kDType, "expected float32 outputs for cotangents, received int32");
    seeds.push_back({graph.outputs[i], graph.add_input(tensor)});
    all_feeds.push_back(cotangents[i]);
  }
  std::vector<ValueId> targets;
  for (const int64_t number : wrt) {
    if (number < 0 || number >= static_cast<int64_t>(ids.size())) {
      fail(ErrorCode::kArgument,
           "expected `wrt` among the graph's values, received " + std::to_string(number));
    }
    targets.push_back(ids[static_cast<size_t>(number)]);
  }
  const std::vector<ValueId> gradients = add_gradients(graph, seeds, targets);
  for (size_t i = 0; i < targets.size(); ++i) {
    const Shape shape = shape_of(graph.tensor(targets[i]));
    // nothing depends on it: zeros
    const ValueId zero = broadcast_to({graph, graph.scalar(0.0F)}, shape).id();
    graph.outputs.push_back(gradients[i] == kNoValue ? zero : gradients[i]);
  }
  return run(std::move(graph), parameters.layout(), parameters, all_feeds, options, backend);
}

}  // namespace tandem
