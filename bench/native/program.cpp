#include "program.h"

#include "suite.h"

namespace tandem::bench {
namespace {

/// Class numbers, or rows of a table: as many different ones as there are, far apart.
void fill_with_classes(const Memory& memory, int64_t classes) {
  constexpr int64_t kStep = 7919;  // prime, and a factor of no number of classes
  auto* numbers = reinterpret_cast<int32_t*>(memory.data.get());
  const int64_t count = memory.bytes / static_cast<int64_t>(sizeof(int32_t));
  for (int64_t i = 0; i < count; ++i) numbers[i] = static_cast<int32_t>(i * kStep % classes);
}

/// One after the other, each on a cache line of its own.
ParameterLayout lay_out(const Graph& graph) {
  ParameterLayout layout;
  for (const ValueId id : graph.parameters) {
    layout.offsets.push_back(layout.bytes);
    layout.bytes += align_up(byte_size(graph.tensor(id)));
  }
  layout.trainable_bytes = layout.bytes;
  return layout;
}

/// Bytes of all buffers that the executable is told about.
std::vector<int64_t> sizes_of(const Graph& graph, int64_t parameter_bytes, int64_t arena_bytes) {
  std::vector<int64_t> sizes{parameter_bytes, arena_bytes};
  for (const Value& value : graph.values) {
    if (value.kind == ValueKind::kArena) sizes.push_back(byte_size(value.tensor));
  }
  for (const ValueId id : graph.inputs) sizes.push_back(byte_size(graph.tensor(id)));
  for (const ValueId id : graph.outputs) sizes.push_back(byte_size(graph.tensor(id)));
  return sizes;
}

}  // namespace

Program::Program(Graph graph, int threads, bool frozen, int64_t classes) {
  const ParameterLayout layout = lay_out(graph);
  const Plan plan = make_plan(std::move(graph), layout, {}, cpu_backend(), frozen);
  Block block(sizes_of(plan.graph, layout.bytes, plan.arena_bytes));
  Arenas arenas;
  const auto arena = [&](int64_t bytes) {
    memory_.push_back(block.take(bytes));
    fill_with_noise(memory_.back());
    return memory_.back().data.get();
  };
  if (layout.bytes > 0) arenas.parameters = arena(layout.bytes);
  for (const Value& value : plan.graph.values) {
    if (value.kind != ValueKind::kArena) continue;
    const auto kind = static_cast<ArenaKind>(value.index);
    std::byte* const data = arena(byte_size(value.tensor));
    if (kind == ArenaKind::kParameters) arenas.parameters = data;
    if (kind == ArenaKind::kGradients) arenas.gradients = data;
    if (kind == ArenaKind::kOptimizer) arenas.optimizer = data;
  }
  if (frozen) weights_ = cpu_backend().make_frozen_weights();
  executable_ = cpu_backend().compile({plan, arenas, threads, weights_.get()});
  memory_.push_back(block.take(plan.arena_bytes));
  executable_->bind_arena(memory_.back().data.get());
  bind(plan.graph, block, classes);
}

void Program::bind(const Graph& graph, Block& block, int64_t classes) {
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const Tensor& tensor = graph.tensor(graph.inputs[i]);
    memory_.push_back(block.take(byte_size(tensor)));
    if (tensor.dtype == DType::kInt32)
      fill_with_classes(memory_.back(), classes);
    else
      fill_with_noise(memory_.back());
    executable_->bind_input(i, memory_.back().data.get());
  }
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    memory_.push_back(block.take(byte_size(graph.tensor(graph.outputs[i]))));
    executable_->bind_output(i, memory_.back().data.get());
  }
}

void Program::run(int64_t calls) {
  for (int64_t i = 0; i < calls; ++i) executable_->run(state_);
}

Side our_program(Graph graph, double work, int threads, bool frozen, int64_t classes) {
  auto program = std::make_shared<Program>(std::move(graph), threads, frozen, classes);
  return {"ours", work, [=](int64_t calls) { program->run(calls); }};
}

}  // namespace tandem::bench
