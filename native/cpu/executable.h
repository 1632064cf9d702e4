// A plan as a flat list of steps on the CPU. A run is one dispatch of the pool: workers take the
// tiles of a stage from a counter and meet at a barrier before the next one. Work that is too small
// to share stays on the caller, and a plan that is small altogether never wakes the pool.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"
#include "cpu/recorder.h"

namespace tandem::cpu {

class CpuExecutable final : public Executable {
 public:
  explicit CpuExecutable(const CompileRequest& request);

  void bind_arena(std::byte* arena) override;
  void bind_input(size_t index, const void* data) override;
  void bind_output(size_t index, void* data) override;
  void run(StepState& state) override;
  [[nodiscard]] std::vector<bool> plain_parameters() const override { return plain_; }
  [[nodiscard]] std::vector<std::string> kernels() const override { return kernels_; }
  [[nodiscard]] int64_t private_bytes() const override { return constants_.bytes; }
  [[nodiscard]] int64_t scratch_bytes() const override { return scratch_bytes_ * workers_; }

 private:
  struct Step {
    TileFn fn;
    std::unique_ptr<std::byte[]> params;
    size_t operands;  ///< first of this step's node in pointers_
    int64_t tiles;
    double cost;
  };
  /// Steps [first, last) on the caller, or one step shared by all.
  struct Stage {
    size_t first;
    size_t last;
    bool shared;
  };
  struct alignas(64) Counter {
    std::atomic<int64_t> next{0};
  };
  /// A pointer that moves with a buffer.
  struct Patch {
    size_t slot;
    int64_t offset;
  };
  struct Dispatch;

  void copy_constants(const Graph& graph);
  void add_node(const CompileRequest& request, size_t node, CpuFrozenWeights* weights);
  void add_operand(const CompileRequest& request, ValueId id);
  void make_stages();
  void run_step(const Step& step, const TileContext& context) const;
  void work(Dispatch& dispatch, int worker, int workers) const;

  std::vector<Step> steps_;
  std::vector<Stage> stages_;
  mutable std::vector<Counter> counters_;  ///< by stage
  std::vector<void*> pointers_;
  std::vector<Patch> arena_patches_;
  std::vector<std::vector<Patch>> input_patches_;
  std::vector<std::vector<Patch>> output_patches_;
  std::vector<int64_t> parameter_offsets_;
  std::vector<bool> plain_;
  std::vector<std::string> kernels_;
  Memory constants_;
  std::vector<int64_t> constant_offsets_;
  int64_t scratch_bytes_ = 0;
  int workers_ = 1;
};

}  // namespace tandem::cpu
