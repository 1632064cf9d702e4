#include "cpu/executable.h"

#include <algorithm>
#include <cstring>

#include "cpu/pool.h"
#include "cpu/scratch.h"

namespace tandem::cpu {
namespace {

// In nanoseconds. Below kStageWorthSharing a step costs less than the barrier around it; below
// kPlanWorthSharing the whole run costs less than waking a thread.
constexpr double kStageWorthSharing = 4000;
constexpr double kPlanWorthSharing = 40000;

std::byte* base_of(const Arenas& arenas, Space space) {
  switch (space) {
    case Space::kParameters:
      return arenas.parameters;
    case Space::kGradients:
      return arenas.gradients;
    case Space::kOptimizer:
      return arenas.optimizer;
    default:
      return nullptr;
  }
}

}  // namespace

struct CpuExecutable::Dispatch {
  const CpuExecutable& self;
  StepState& state;
  Barrier barrier{};
};

CpuExecutable::CpuExecutable(const CompileRequest& request) {
  const Graph& graph = request.plan.graph;
  input_patches_.resize(graph.inputs.size());
  output_patches_.resize(graph.outputs.size());
  plain_.assign(graph.parameters.size(), false);
  parameter_offsets_.assign(graph.parameters.size(), -1);
  for (size_t i = 0; i < graph.parameters.size(); ++i) {
    parameter_offsets_[i] = request.plan.places[static_cast<size_t>(graph.parameters[i])].offset;
  }
  copy_constants(graph);
  auto* weights = static_cast<CpuFrozenWeights*>(request.frozen);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if ((info(graph.nodes[i].op).flags & kAlias) == 0) add_node(request, i, weights);
  }
  workers_ = request.threads > 0 ? request.threads : available_processors();
  make_stages();
}

void CpuExecutable::copy_constants(const Graph& graph) {
  int64_t bytes = 0;
  for (const Constant& constant : graph.constant_data) {
    constant_offsets_.push_back(bytes);
    bytes += align_up(static_cast<int64_t>(constant.data.size()));
  }
  constants_ = cpu_backend().allocate(bytes);
  for (size_t i = 0; i < constant_offsets_.size(); ++i) {
    const std::vector<std::byte>& data = graph.constant_data[i].data;
    if (!data.empty())
      std::memcpy(constants_.data.get() + constant_offsets_[i], data.data(), data.size());
  }
}

void CpuExecutable::add_operand(const CompileRequest& request, ValueId id) {
  const size_t slot = pointers_.size();
  pointers_.push_back(nullptr);
  if (id == kNoValue) return;
  const Place& place = request.plan.places[static_cast<size_t>(id)];
  const auto index = static_cast<size_t>(place.index);
  switch (place.space) {
    case Space::kNone:
      break;
    case Space::kArena:
      arena_patches_.push_back({slot, place.offset});
      break;
    case Space::kInput:
      input_patches_[index].push_back({slot, 0});
      break;
    case Space::kOutput:
      output_patches_[index].push_back({slot, 0});
      break;
    case Space::kConstants:
      pointers_[slot] = constants_.data.get() + constant_offsets_[index];
      break;
    case Space::kParameters:
    case Space::kGradients:
    case Space::kOptimizer:
      pointers_[slot] = base_of(request.arenas, place.space) + place.offset;
      break;
  }
}

void CpuExecutable::add_node(const CompileRequest& request, size_t index,
                             CpuFrozenWeights* weights) {
  const Graph& graph = request.plan.graph;
  const Node& node = graph.nodes[index];
  Recorder recorder(graph, node, weights != nullptr, weights, request.arenas.parameters,
                    &parameter_offsets_);
  recorder.launch();
  const size_t operands = pointers_.size();
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (recorder.repacked[i]) {
      pointers_.push_back(nullptr);
      continue;
    }
    add_operand(request, node.inputs[i]);
    if (node.inputs[i] == kNoValue) continue;
    const Value& value = graph.value(node.inputs[i]);
    const Place& place = request.plan.places[static_cast<size_t>(node.inputs[i])];
    // a reshape of a parameter has the parameter's place
    if (place.space == Space::kParameters && value.kind != ValueKind::kArena)
      plain_[static_cast<size_t>(place.index)] = true;
  }
  for (const ValueId id : node.outputs) add_operand(request, id);
  for (const ExtraOperand& extra : recorder.extras) {
    if (extra.workspace_offset >= 0) {
      arena_patches_.push_back(
          {pointers_.size(), request.plan.workspaces[index] + extra.workspace_offset});
    }
    pointers_.push_back(extra.frozen);
  }
  scratch_bytes_ = std::max(scratch_bytes_, recorder.scratch_bytes);
  for (RecordedStep& step : recorder.steps) {
    steps_.push_back({step.fn, std::move(step.params), operands, step.tiles, step.cost});
  }
  kernels_.emplace_back(name(node.op));
}

void CpuExecutable::make_stages() {
  double total = 0;
  for (const Step& step : steps_) total += step.cost;
  if (total < kPlanWorthSharing) workers_ = 1;
  for (size_t i = 0; i < steps_.size(); ++i) {
    const bool shared = workers_ > 1 && steps_[i].tiles > 1 && steps_[i].cost >= kStageWorthSharing;
    if (!shared && !stages_.empty() && !stages_.back().shared) {
      stages_.back().last = i + 1;
    } else {
      stages_.push_back({i, i + 1, shared});
    }
  }
  const bool any =
      std::any_of(stages_.begin(), stages_.end(), [](const Stage& stage) { return stage.shared; });
  if (!any) workers_ = 1;
  counters_ = std::vector<Counter>(stages_.size());
}

void CpuExecutable::bind_arena(std::byte* arena) {
  for (const Patch& patch : arena_patches_) pointers_[patch.slot] = arena + patch.offset;
}

void CpuExecutable::bind_input(size_t index, const void* data) {
  // kernels only read inputs; one list of operands serves both directions
  for (const Patch& patch : input_patches_[index]) pointers_[patch.slot] = const_cast<void*>(data);
}

void CpuExecutable::bind_output(size_t index, void* data) {
  for (const Patch& patch : output_patches_[index]) pointers_[patch.slot] = data;
}

void CpuExecutable::run_step(const Step& step, const TileContext& context) const {
  void* const* operands = pointers_.data() + step.operands;
  for (int64_t tile = 0; tile < step.tiles; ++tile)
    step.fn(step.params.get(), operands, tile, context);
}

void CpuExecutable::work(Dispatch& dispatch, int worker, int workers) const {
  const TileContext context{&dispatch.state, thread_scratch(scratch_bytes_)};
  // a thread without scratch leaves the tiles to the others; the caller has its own (see run)
  const bool able = scratch_bytes_ == 0 || context.scratch != nullptr;
  for (size_t i = 0; i < stages_.size(); ++i) {
    const Stage& stage = stages_[i];
    if (stage.shared && able) {
      const Step& step = steps_[stage.first];
      void* const* operands = pointers_.data() + step.operands;
      std::atomic<int64_t>& next = counters_[i].next;
      for (int64_t tile = next.fetch_add(1, std::memory_order_relaxed); tile < step.tiles;
           tile = next.fetch_add(1, std::memory_order_relaxed)) {
        step.fn(step.params.get(), operands, tile, context);
      }
    } else if (!stage.shared && worker == 0) {
      for (size_t s = stage.first; s < stage.last; ++s) run_step(steps_[s], context);
    }
    if (i + 1 < stages_.size()) dispatch.barrier.wait(workers);
  }
}

void CpuExecutable::run(StepState& state) {
  const TileContext context{&state, thread_scratch(scratch_bytes_)};
  if (scratch_bytes_ > 0 && context.scratch == nullptr) {
    fail(ErrorCode::kOutOfMemory, "expected " + std::to_string(scratch_bytes_) +
                                      " bytes of scratch memory, the system has none left");
  }
  if (workers_ == 1) {
    for (const Step& step : steps_) run_step(step, context);
    return;
  }
  for (Counter& counter : counters_) counter.next.store(0, std::memory_order_relaxed);
  Dispatch dispatch{*this, state, {}};
  Pool::instance().run(
      workers_,
      [](void* opaque, int worker, int workers) {
        auto& shared = *static_cast<Dispatch*>(opaque);
        shared.self.work(shared, worker, workers);
      },
      &dispatch);
}

}  // namespace tandem::cpu
