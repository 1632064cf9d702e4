#include "cpu/executable.h"

#include <algorithm>
#include <cstring>

#include "core/chains.h"
#include "core/precision.h"
#include "cpu/pool.h"
#include "cpu/scratch.h"

namespace tandem::cpu {
namespace {

// In nanoseconds: plans of less cost less than waking a thread, and little more than a call to a
// thread that is awake.
constexpr double kBriefPlan = 40000;
constexpr double kPlanWorthSharing = 8000;

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

/// What of a plan is known to the schedule, while it is compiled.
struct CpuExecutable::Draft {
  Hazards hazards;
  std::vector<StepShape> steps;
  std::vector<size_t> last_step;  ///< by node as `hazards` counts them

  /// Of a node's steps the first waits for other nodes and each other for the one before it.
  void add(const CompileRequest& request, size_t node, const Recorder& recorder) {
    if (recorder.steps.empty()) return;
    std::vector<size_t> after;
    for (const size_t earlier :
         hazards.add(accesses_of(request.plan, node, recorder.workspace_bytes))) {
      after.push_back(last_step[earlier]);
    }
    for (const RecordedStep& step : recorder.steps) {
      steps.push_back({step.tiles, step.cost, std::move(after)});
      after = {steps.size() - 1};
    }
    last_step.push_back(steps.size() - 1);
  }
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
  Draft draft;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if ((info(graph.nodes[i].op).flags & kAlias) == 0) add_node(request, i, weights, draft);
  }
  double cost = 0;
  bool shared = false;
  for (const StepShape& step : draft.steps) cost += step.cost;
  std::vector<Unit> units = make_units(draft.steps);
  for (const Unit& unit : units) shared = shared || unit.tiles > 1;
  workers_ = request.threads > 0 ? request.threads : available_processors();
  if (cost < kPlanWorthSharing || !shared) workers_ = 1;
  if (cost < kBriefPlan) length_ = Pool::Length::kBrief;
  if (workers_ > 1) queue_.emplace(std::move(units), workers_);
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

void CpuExecutable::add_operand(const CompileRequest& request, ValueId id, size_t node,
                                int64_t as_floats) {
  const size_t slot = pointers_.size();
  pointers_.push_back(nullptr);
  if (id == kNoValue) return;
  if (as_floats >= 0) {
    arena_patches_.push_back({slot, request.plan.workspaces[node] + as_floats});
    return;
  }
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

void CpuExecutable::add_node(const CompileRequest& request, size_t index, CpuFrozenWeights* weights,
                             Draft& draft) {
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
    add_operand(request, node.inputs[i], index, recorder.as_floats[i]);
    if (node.inputs[i] == kNoValue) continue;
    const Value& value = graph.value(node.inputs[i]);
    const Place& place = request.plan.places[static_cast<size_t>(node.inputs[i])];
    // a reshape of a parameter has the parameter's place
    if (place.space == Space::kParameters && value.kind != ValueKind::kArena)
      plain_[static_cast<size_t>(place.index)] = true;
  }
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    add_operand(request, node.outputs[i], index, recorder.as_floats[node.inputs.size() + i]);
  }
  for (const ExtraOperand& extra : recorder.extras) {
    if (extra.value != kNoValue) {
      add_operand(request, extra.value, index, -1);
      continue;
    }
    if (extra.workspace_offset >= 0) {
      arena_patches_.push_back(
          {pointers_.size(), request.plan.workspaces[index] + extra.workspace_offset});
    }
    pointers_.push_back(extra.frozen);
  }
  scratch_bytes_ = std::max(scratch_bytes_, recorder.scratch_bytes);
  draft.add(request, index, recorder);
  for (RecordedStep& step : recorder.steps)
    steps_.push_back({step.fn, std::move(step.params), operands, step.tiles});
  kernels_.push_back(kernel_name(node) + (uses_bf16(node) ? " bf16" : ""));
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

void CpuExecutable::work(StepState& state, int worker) {
  const TileContext context{&state, thread_scratch(scratch_bytes_)};
  // a thread without scratch leaves all tiles to the others; the caller has its own (see run)
  if (scratch_bytes_ > 0 && context.scratch == nullptr) return;
  queue_->work(worker, [&](const Unit& unit, int64_t tile) {
    if (unit.tiles == 1) {
      for (size_t i = unit.first; i < unit.last; ++i) run_step(steps_[i], context);
      return;
    }
    const Step& step = steps_[unit.first];
    step.fn(step.params.get(), pointers_.data() + step.operands, tile, context);
  });
}

void CpuExecutable::run(StepState& state) {
  const TileContext context{&state, thread_scratch(scratch_bytes_)};
  if (scratch_bytes_ > 0 && context.scratch == nullptr) {
    fail(ErrorCode::kOutOfMemory, "expected " + std::to_string(scratch_bytes_) +
                                      " bytes of scratch memory, the system has none left");
  }
  if (!queue_) {
    for (const Step& step : steps_) run_step(step, context);
    return;
  }
  queue_->reset();
  struct Dispatch {
    CpuExecutable& self;
    StepState& state;
  } dispatch{*this, state};
  Pool::instance().run(
      workers_, length_,
      [](void* opaque, int worker) {
        const auto& shared = *static_cast<Dispatch*>(opaque);
        shared.self.work(shared.state, worker);
      },
      &dispatch);
}

}  // namespace tandem::cpu
