#include "program.h"

#include "suite.h"

namespace tandem::bench {
namespace {

constexpr int32_t kClasses = 10;  // no case has fewer

Memory class_numbers(int64_t count) {
  Memory memory = pages(count * static_cast<int64_t>(sizeof(int32_t)));
  auto* numbers = reinterpret_cast<int32_t*>(memory.data.get());
  for (int64_t i = 0; i < count; ++i) numbers[i] = static_cast<int32_t>(i * 7 % kClasses);
  return memory;
}

Memory contents(const Tensor& tensor) {
  return tensor.dtype == DType::kInt32 ? class_numbers(tensor.numel) : noise(tensor.numel);
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

}  // namespace

Program::Program(Graph graph, int threads, bool frozen) {
  const ParameterLayout layout = lay_out(graph);
  Arenas arenas;
  const auto arena = [&](int64_t bytes) {
    memory_.push_back(noise(bytes / static_cast<int64_t>(sizeof(float))));
    return memory_.back().data.get();
  };
  if (layout.bytes > 0) arenas.parameters = arena(layout.bytes);
  for (const Value& value : graph.values) {
    if (value.kind != ValueKind::kArena) continue;
    const auto kind = static_cast<ArenaKind>(value.index);
    std::byte* const data = arena(byte_size(value.tensor));
    if (kind == ArenaKind::kParameters) arenas.parameters = data;
    if (kind == ArenaKind::kGradients) arenas.gradients = data;
    if (kind == ArenaKind::kOptimizer) arenas.optimizer = data;
  }
  const Plan plan = make_plan(std::move(graph), layout, {}, cpu_backend(), frozen);
  if (frozen) weights_ = cpu_backend().make_frozen_weights();
  executable_ = cpu_backend().compile({plan, arenas, threads, weights_.get()});
  memory_.push_back(pages(plan.arena_bytes));
  executable_->bind_arena(memory_.back().data.get());
  bind(plan.graph);
}

void Program::bind(const Graph& graph) {
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    memory_.push_back(contents(graph.tensor(graph.inputs[i])));
    executable_->bind_input(i, memory_.back().data.get());
  }
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    memory_.push_back(pages(byte_size(graph.tensor(graph.outputs[i]))));
    executable_->bind_output(i, memory_.back().data.get());
  }
}

void Program::run(int64_t calls) {
  for (int64_t i = 0; i < calls; ++i) executable_->run(state_);
}

Side our_program(Graph graph, double work, int threads, bool frozen) {
  auto program = std::make_shared<Program>(std::move(graph), threads, frozen);
  return {"ours", work, [=](int64_t calls) { program->run(calls); }};
}

}  // namespace tandem::bench
