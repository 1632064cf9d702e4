#include "cuda/executable.h"

#include <cstring>

#include "core/hazards.h"
#include "core/input_block.h"
#include "cuda/kernels.h"

namespace tandem::cuda {

NodeView view_of(const Graph& graph, const Node& node) {
  NodeView view{node.op, node.rounds_too, node.attributes.bytes.data(), {}, {}, {}};
  for (const ValueId id : node.inputs)
    view.inputs.push_back(id == kNoValue ? nullptr : &graph.tensor(id));
  for (const ValueId id : node.outputs) view.outputs.push_back(&graph.tensor(id));
  for (const ValueId id : node.inputs) {
    const bool parameter = id != kNoValue && graph.value(id).kind == ValueKind::kParameter;
    view.parameters.push_back(parameter ? graph.value(id).index : -1);
  }
  return view;
}

CudaExecutable::CudaExecutable(Device& device, const CompileRequest& request)
    : device_(device),
      plan_(request.plan),
      arenas_(request.arenas),
      stream_(request.frozen == nullptr ? StreamPriority::kNormal : StreamPriority::kHigh),
      own_frozen_([&device](int64_t bytes) { return device.allocate(bytes); }),
      frozen_(request.frozen == nullptr ? &own_frozen_
                                        : static_cast<FrozenMemory*>(request.frozen)) {
  lay_out_block(request.keeps_state);
  if (request.announces && state_offset_ > 0) second_.emplace(device_, state_offset_);
  copy_constants();
  freeze();
  order_nodes();
}

void CudaExecutable::lay_out_block(bool keeps_state) {
  const Graph& graph = plan_.graph;
  int64_t end = 0;
  const auto add = [&](std::vector<Slot>& slots, int64_t bytes) {
    slots.push_back({end, bytes});
    end = checked_add(end, align_input(bytes));
  };
  const std::vector<bool> changed = graph.changed_inputs();
  for (size_t i = 0; i < changed.size(); ++i) {
    const bool is_state = keeps_state && changed[i];
    add(inputs_, is_state ? 0 : byte_size(graph.tensor(graph.inputs[i])));
    inputs_[i].is_state = is_state;
    inputs_[i].changes = changed[i] && !is_state;
  }
  bound_.resize(inputs_.size());
  state_offset_ = end;
  end += align_input(sizeof(StepState));
  for (const ValueId id : graph.outputs) add(outputs_, byte_size(graph.tensor(id)));
  block_ = device_.allocate(end);
  pinned_ = PinnedMemory(end);
}

void CudaExecutable::copy_constants() {
  int64_t bytes = 0;
  for (const Constant& constant : plan_.graph.constant_data) {
    constant_offsets_.push_back(bytes);
    bytes = checked_add(bytes, align_input(static_cast<int64_t>(constant.data.size())));
  }
  constants_ = device_.allocate(bytes);
  for (size_t i = 0; i < constant_offsets_.size(); ++i) {
    const std::vector<std::byte>& data = plan_.graph.constant_data[i].data;
    if (data.empty()) continue;
    check(cudaMemcpy(constants_.data.get() + constant_offsets_[i], data.data(), data.size(),
                     cudaMemcpyHostToDevice),
          "a copy of constants");
  }
  check(cudaStreamSynchronize(nullptr), "a copy of constants");
}

void CudaExecutable::bind_arena(std::byte* arena) {
  if (arena == arena_) return;
  arena_ = arena;
  for (GraphExec& graph : graphs_) graph = {};
}

void CudaExecutable::bind_input(size_t index, const void* data) { bound_[index] = data; }

void CudaExecutable::bind_state(size_t index, std::byte* data) {
  if (inputs_[index].state == data) return;
  inputs_[index].state = data;
  for (GraphExec& graph : graphs_) graph = {};
}

void CudaExecutable::bind_output(size_t index, void* data) { outputs_[index].to = data; }

void* CudaExecutable::address(ValueId id) const {
  if (id == kNoValue) return nullptr;
  const Place& place = plan_.places[static_cast<size_t>(id)];
  const auto index = static_cast<size_t>(place.index);
  switch (place.space) {
    case Space::kNone:
      break;
    case Space::kArena:
      return arena_ + place.offset;
    case Space::kParameters:
      return arenas_.parameters + place.offset;
    case Space::kGradients:
      return arenas_.gradients + place.offset;
    case Space::kOptimizer:
      return arenas_.optimizer + place.offset;
    case Space::kConstants:
      return constants_.data.get() + constant_offsets_[index];
    case Space::kInput:
      return inputs_[index].is_state ? inputs_[index].state
                                     : inputs_on_device(slot_) + inputs_[index].offset;
    case Space::kOutput:
      return block_.data.get() + outputs_[index].offset;
  }
  return nullptr;
}

Operands CudaExecutable::operands_of(size_t node) const {
  Operands operands;
  for (const ValueId id : plan_.graph.nodes[node].inputs) operands.inputs.push_back(address(id));
  for (const ValueId id : plan_.graph.nodes[node].outputs) operands.outputs.push_back(address(id));
  if (plan_.workspaces[node] >= 0) operands.workspace = arena_ + plan_.workspaces[node];
  operands.state = reinterpret_cast<StepState*>(block_.data.get() + state_offset_);
  return operands;
}

void CudaExecutable::freeze() {
  const Graph& graph = plan_.graph;
  // without a request for it, parameters change, and nothing may be made of them once and for all
  plain_.assign(graph.parameters.size(), !freezes());
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const NodeView view = view_of(graph, node);
    std::vector<bool> repacked(view.inputs.size(), false);
    if ((info(node.op).flags & kAlias) == 0) {
      Launch launch = Launch::freezing(view, device_.products(), operands_of(i), stream_.get(),
                                       *frozen_, freezes());
      launcher(node.op)(launch);
      for (const int input : launch.frozen_inputs()) repacked[static_cast<size_t>(input)] = true;
    }
    for (size_t input = 0; input < repacked.size(); ++input) {
      if (!repacked[input] && view.parameters[input] >= 0)
        plain_[static_cast<size_t>(view.parameters[input])] = true;
    }
  }
  for (const ValueId id : graph.outputs) {
    if (graph.value(id).kind == ValueKind::kParameter)
      plain_[static_cast<size_t>(graph.value(id).index)] = true;
  }
}

void CudaExecutable::order_nodes() {
  const Graph& graph = plan_.graph;
  Hazards hazards;
  std::vector<size_t> counted;  // the nodes that `hazards` counts
  after_.resize(graph.nodes.size());
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if ((info(node.op).flags & kAlias) != 0) continue;
    const NodeView view = view_of(graph, node);
    Launch measure(view, device_.products(), freezes());
    launcher(node.op)(measure);
    for (const size_t earlier : hazards.add(accesses_of(plan_, i, measure.workspace_bytes())))
      after_[i].push_back(counted[earlier]);
    counted.push_back(i);
    kernels_.emplace_back(tandem::name(node.op));
  }
}

Recording::Ends CudaExecutable::record_nodes(Recording& recording, const Recording::Ends& inputs) {
  const Graph& graph = plan_.graph;
  std::vector<Recording::Ends> ends(graph.nodes.size());
  std::vector<bool> last(graph.nodes.size(), false);  // nobody waits for it
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if ((info(node.op).flags & kAlias) != 0) continue;
    Recording::Ends before = after_[i].empty() ? inputs : Recording::Ends();
    for (const size_t earlier : after_[i]) {
      before.insert(before.end(), ends[earlier].begin(), ends[earlier].end());
      last[earlier] = false;
    }
    recording.follow(before);
    const NodeView view = view_of(graph, node);
    Launch launch(view, device_.products(), operands_of(i), stream_.get(), *frozen_, freezes());
    launcher(node.op)(launch);
    ends[i] = recording.ends();
    last[i] = true;
  }
  Recording::Ends all = inputs;
  for (size_t i = 0; i < ends.size(); ++i) {
    if (last[i]) all.insert(all.end(), ends[i].begin(), ends[i].end());
  }
  return all;
}

std::byte* CudaExecutable::inputs_on_device(int slot) const {
  return slot == 0 ? block_.data.get() : second_->block.data.get();
}

std::byte* CudaExecutable::inputs_on_host(int slot) const {
  return slot == 0 ? pinned_.data() : second_->pinned.data();
}

cudaGraphExec_t CudaExecutable::graph_of(InputSlots::Use use) {
  GraphExec& graph = graphs_[use.staged ? 1 + use.slot : 0];
  if (!graph) {
    slot_ = use.slot;
    graph = record(!use.staged);
  }
  return graph.get();
}

GraphExec CudaExecutable::record(bool copies_inputs) {
  const auto copy = [&](int64_t begin, int64_t end, cudaMemcpyKind kind) {
    std::byte* const device = block_.data.get() + begin;
    std::byte* const host = pinned_.data() + begin;
    const bool in = kind == cudaMemcpyHostToDevice;
    check(cudaMemcpyAsync(in ? device : host, in ? host : device, static_cast<size_t>(end - begin),
                          kind, stream_.get()),
          "a copy");
  };
  Recording recording(stream_.get());
  copy(copies_inputs ? 0 : state_offset_, state_offset_ + static_cast<int64_t>(sizeof(StepState)),
       cudaMemcpyHostToDevice);
  recording.follow(record_nodes(recording, recording.ends()));
  copy(state_offset_, block_.bytes, cudaMemcpyDeviceToHost);
  for (const Slot& input : inputs_) {
    if (input.changes) copy(input.offset, input.offset + input.bytes, cudaMemcpyDeviceToHost);
  }
  return recording.finish();
}

bool CudaExecutable::lie_in_staging(const InputSlots::Inputs& inputs) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs_[i].bytes > 0 && !device_.staging().hold(inputs[i], inputs_[i].bytes)) return false;
  }
  return state_offset_ > 0;
}

/// Whether inputs lie in staging as in the block, so that one copy is enough.
bool CudaExecutable::lie_as_in_block(const InputSlots::Inputs& inputs) const {
  const auto* const first = static_cast<const std::byte*>(inputs.front());
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs_[i].bytes == 0 || inputs[i] != first + inputs_[i].offset) return false;
  }
  return device_.staging().hold(first, inputs_.back().offset + inputs_.back().bytes);
}

void CudaExecutable::copy_inputs(int slot, cudaStream_t stream) {
  const auto copy = [&](int64_t offset, const void* from, int64_t bytes) {
    check(cudaMemcpyAsync(inputs_on_device(slot) + offset, from, static_cast<size_t>(bytes),
                          cudaMemcpyHostToDevice, stream),
          "a copy");
  };
  const InputSlots::Inputs* const direct = direct_[slot];
  if (direct == nullptr) return copy(0, inputs_on_host(slot), state_offset_);
  if (lie_as_in_block(*direct))
    return copy(0, direct->front(), inputs_.back().offset + inputs_.back().bytes);
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i].bytes > 0) copy(inputs_[i].offset, (*direct)[i], inputs_[i].bytes);
  }
}

struct CudaExecutable::Run {
  CudaExecutable& self;

  void fill(int slot, const InputSlots::Inputs& from) {
    // an event that was never recorded is not waited for
    if (self.second_) check(cudaEventSynchronize(self.second_->sent[slot].get()), "a copy");
    // the device copies from where they are
    self.direct_[slot] = self.lie_in_staging(from) ? &from : nullptr;
    if (self.direct_[slot] != nullptr) return;
    std::byte* const to = self.inputs_on_host(slot);
    for (size_t i = 0; i < from.size(); ++i) {
      const Slot& input = self.inputs_[i];
      if (input.bytes > 0)
        std::memcpy(to + input.offset, from[i], static_cast<size_t>(input.bytes));
    }
  }
  void send(int slot) {
    self.copy_inputs(slot, self.second_->copies.get());
    check(cudaEventRecord(self.second_->sent[slot].get(), self.second_->copies.get()), "a copy");
  }
  void await(int slot) {
    check(cudaStreamWaitEvent(self.stream_.get(), self.second_->sent[slot].get(), 0), "a copy");
  }
  void start(InputSlots::Use use) {
    if (!use.staged && self.direct_[use.slot] != nullptr) {
      self.copy_inputs(use.slot, self.stream_.get());
      use.staged = true;  // by this stream itself
    }
    check(cudaGraphLaunch(self.graph_of(use), self.stream_.get()), "the start of a graph");
  }
  void finish() { check(cudaStreamSynchronize(self.stream_.get()), "a run"); }
  /// The caller's memory is no longer read then, nor are blocks that the next run fills.
  void abandon() noexcept {
    if (self.second_) self.second_->wait();
    static_cast<void>(cudaStreamSynchronize(self.stream_.get()));
  }
};

void CudaExecutable::forget() {
  const int slot = slots_.forget();
  // what had been announced may be memory that the device still reads
  if (slot != InputSlots::kNone && direct_[slot] != nullptr)
    check(cudaEventSynchronize(second_->sent[slot].get()), "a copy");
}

void CudaExecutable::announce(const std::vector<const void*>& inputs) {
  if (second_) slots_.announce(inputs);
}

void CudaExecutable::run(StepState& state) {
  device_.use();
  std::memcpy(pinned_.data() + state_offset_, &state, sizeof state);
  Run device{*this};
  run_with(device, slots_, bound_);
  std::memcpy(&state, pinned_.data() + state_offset_, sizeof state);
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Slot& input = inputs_[i];
    if (!input.changes) continue;
    // whoever binds an input that a node changes owns it and expects that
    std::memcpy(const_cast<void*>(bound_[i]), pinned_.data() + input.offset,
                static_cast<size_t>(input.bytes));
  }
  for (const Slot& output : outputs_) {
    if (output.bytes > 0)
      std::memcpy(output.to, pinned_.data() + output.offset, static_cast<size_t>(output.bytes));
  }
}

std::vector<bool> CudaExecutable::plain_parameters() const { return plain_; }

int64_t CudaExecutable::private_bytes() const {
  return constants_.bytes + block_.bytes + (second_ ? second_->block.bytes : 0);
}

}  // namespace tandem::cuda
