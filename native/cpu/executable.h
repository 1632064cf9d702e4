// A plan as a flat list of steps on the CPU. A run is one dispatch of the pool, whose threads take
// the tiles of steps as these become ready (see schedule.h); what is too small to share, one thread
// runs. A plan that is small altogether stays on the caller and never wakes the pool.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/backend.h"
#include "cpu/pool.h"
#include "cpu/recorder.h"
#include "cpu/schedule.h"

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
  };
  struct Draft;
  /// A pointer that moves with a buffer.
  struct Patch {
    size_t slot;
    int64_t offset;
  };

  void copy_constants(const Graph& graph);
  void add_node(const CompileRequest& request, size_t node, CpuFrozenWeights* weights,
                Draft& draft);
  /// The next operand: a value, or where in the workspace of its node it is floats.
  void add_operand(const CompileRequest& request, ValueId id, size_t node, int64_t as_floats);
  void run_step(const Step& step, const TileContext& context) const;
  void work(StepState& state, int worker);

  std::vector<Step> steps_;
  std::optional<UnitQueue> queue_;  ///< none where one thread runs all steps in order
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
  Pool::Length length_ = Pool::Length::kLong;
};

}  // namespace tandem::cpu
