// A plan on a GPU: one CUDA graph, recorded when it first runs and replayed from then on. The graph
// copies the inputs in, runs every kernel of the plan and copies the outputs back, between a block
// of pinned memory and its twin on the device:
//
//   | input 0 | input 1 | ... | StepState | output 0 | output 1 | ... |
//   |------------- copied in -------------|
//                             |------------- copied back -------------|
//
// The host's part of a run is to copy the caller's memory into the block, one launch, waiting, and
// to copy outputs out. Recording again is only needed when the arena moves. Inputs that a node
// changes, such as the caches of generation, are copied back, too.
#pragma once

#include <string>
#include <vector>

#include "core/backend.h"
#include "cuda/device.h"
#include "cuda/handles.h"
#include "cuda/launch.h"

namespace tandem::cuda {

/// The plan and the arenas of the request have to outlive it, as they do in their owners.
class CudaExecutable final : public Executable {
 public:
  CudaExecutable(Device& device, const CompileRequest& request);

  void bind_arena(std::byte* arena) override;
  void bind_input(size_t index, const void* data) override;
  void bind_output(size_t index, void* data) override;
  void run(StepState& state) override;
  [[nodiscard]] std::vector<bool> plain_parameters() const override;
  [[nodiscard]] std::vector<std::string> kernels() const override { return kernels_; }
  [[nodiscard]] int64_t private_bytes() const override;
  [[nodiscard]] int64_t scratch_bytes() const override { return 0; }

 private:
  /// A part of the block, and the caller's memory that belongs to it.
  struct Slot {
    int64_t offset, bytes;
    const void* from = nullptr;
    void* to = nullptr;
    bool changes = false;  ///< an input that a node writes
  };
  void lay_out_block();
  void copy_constants();
  void record();
  void record_nodes();
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
  GraphExec graph_;  ///< none until the first run with this arena
  std::vector<std::string> kernels_;
};

/// What the launcher of a node sees of its shapes.
NodeView view_of(const Graph& graph, const Node& node);

}  // namespace tandem::cuda
