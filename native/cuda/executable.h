// A plan on a GPU: one CUDA graph, recorded when it first runs and replayed from then on. The graph
// copies the inputs in, runs every kernel of the plan and copies the outputs back, between a block
// of pinned memory and its twin on the device:
//
//   | input 0 | input 1 | ... | StepState | output 0 | output 1 | ... |
//   |------------- copied in -------------|
//                             |------------- copied back -------------|
//
// Kernels wait for those that write what they touch, or read what they write, and for no others, so
// that small ones run at the same time. The host's part of a run is to copy the caller's memory
// into the block, one launch, waiting, and to copy outputs out. Recording again is only needed when
// the arena moves. Inputs that a node changes, such as the caches of generation, are not in the
// block: they stay on the device. Where a request does not say that they do, they are, and are
// copied back, too.
//
// Inputs that lie in memory which the device copies from by itself (Backend::allocate_staging())
// never go through the pinned block.
//
// A plan whose next inputs are announced has a second block for inputs. While a run reads the one,
// what comes next is copied into the other on a second stream, for which the next run only waits:
// see host/input_slots.h. Its graphs read either block, and copy inputs themselves or do not.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/backend.h"
#include "cuda/device.h"
#include "cuda/handles.h"
#include "cuda/host/input_slots.h"
#include "cuda/launch.h"
#include "cuda/recording.h"

namespace tandem::cuda {

/// The plan and the arenas of the request have to outlive it, as they do in their owners.
class CudaExecutable final : public Executable {
 public:
  CudaExecutable(Device& device, const CompileRequest& request);

  void bind_arena(std::byte* arena) override;
  void bind_input(size_t index, const void* data) override;
  void bind_output(size_t index, void* data) override;
  void bind_state(size_t index, std::byte* data) override;
  void announce(const std::vector<const void*>& inputs) override;
  void forget() override;
  void run(StepState& state) override;
  [[nodiscard]] std::vector<bool> plain_parameters() const override;
  [[nodiscard]] std::vector<std::string> kernels() const override { return kernels_; }
  [[nodiscard]] int64_t private_bytes() const override;
  [[nodiscard]] int64_t scratch_bytes() const override { return 0; }

 private:
  /// A part of the block, and the caller's memory that belongs to it.
  struct Slot {
    int64_t offset, bytes;
    void* to = nullptr;          ///< of an output
    bool changes = false;        ///< an input that a node writes, and that is copied back
    bool is_state = false;       ///< the same, but that it is the device's
    std::byte* state = nullptr;  ///< where it is
  };
  /// The calls of run_with().
  struct Run;
  /// What a plan with announced inputs has beyond the first block.
  struct Second {
    Second(Device& device, int64_t bytes)
        : block(device.allocate(bytes)), pinned(bytes), copies(StreamPriority::kNormal) {}
    Second(const Second&) = delete;
    Second& operator=(const Second&) = delete;
    /// What was announced, and never ran, may still be on its way.
    ~Second() { wait(); }
    void wait() const noexcept { static_cast<void>(cudaStreamSynchronize(copies.get())); }
    Memory block;
    PinnedMemory pinned;
    Stream copies;
    Event sent[2];  ///< by slot
  };
  void lay_out_block(bool keeps_state);
  void copy_constants();
  /// The graph of a run, recorded when it is first needed.
  cudaGraphExec_t graph_of(InputSlots::Use use);
  GraphExec record(bool copies_inputs);
  /// Records all nodes, each behind `inputs` and those of order_nodes(); returns what is to be
  /// waited for to wait for all.
  Recording::Ends record_nodes(Recording& recording, const Recording::Ends& inputs);
  /// Finds what each node waits for.
  void order_nodes();
  /// Whether the device can copy all of them from where they are.
  [[nodiscard]] bool lie_in_staging(const InputSlots::Inputs& inputs) const;
  [[nodiscard]] bool lie_as_in_block(const InputSlots::Inputs& inputs) const;
  /// Puts the copies of a slot's inputs on a stream.
  void copy_inputs(int slot, cudaStream_t stream);
  [[nodiscard]] std::byte* inputs_on_device(int slot) const;
  [[nodiscard]] std::byte* inputs_on_host(int slot) const;
  /// Whether parameters never change.
  [[nodiscard]] bool freezes() const { return frozen_ != &own_frozen_; }
  /// Makes what launchers freeze.
  void freeze();
  [[nodiscard]] Operands operands_of(size_t node) const;
  [[nodiscard]] void* address(ValueId id) const;

  Device& device_;
  const Plan& plan_;
  Arenas arenas_;
  Stream stream_;
  std::vector<Slot> inputs_;
  std::vector<Slot> outputs_;
  int64_t state_offset_ = 0;
  Memory block_;
  PinnedMemory pinned_;
  Memory constants_;
  std::vector<int64_t> constant_offsets_;
  std::byte* arena_ = nullptr;
  FrozenMemory own_frozen_;  ///< where the request has none
  FrozenMemory* frozen_;
  std::vector<bool> plain_;
  /// None until the first run with this arena: one that copies inputs itself, of the first block,
  /// and one for each block that has them.
  GraphExec graphs_[3];
  int slot_ = 0;  ///< the block that is being recorded
  std::optional<Second> second_;
  InputSlots slots_;
  InputSlots::Inputs bound_;
  /// By slot: the inputs that the device copies from the caller's memory, while their run is under
  /// way; null where they were copied to the slot's pinned block.
  const InputSlots::Inputs* direct_[2] = {};
  std::vector<std::vector<size_t>> after_;  ///< by node: earlier ones that end before it starts
  std::vector<std::string> kernels_;
};

/// What the launcher of a node sees of its shapes.
NodeView view_of(const Graph& graph, const Node& node);

}  // namespace tandem::cuda
