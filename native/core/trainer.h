// Training: a plan for each batch size that comes, over one set of arenas. One thread at a time.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "core/model.h"
#include "core/precision.h"
#include "core/profile.h"

namespace tandem {

struct TrainerOptions {
  Op optimizer = Op::sgd;
  AttributeStorage optimizer_attributes;
  double max_gradient_norm = 0;  ///< 0: no clipping
  bool check_numerics = false;
  uint64_t seed = 0;
  int threads = 0;
  Precision precision = Precision::kFloat32;
};

class Trainer {
 public:
  /// Output 0 of the graph is the loss, one number; the others have any shape whose elements are a
  /// fixed number and so many for each row. Throws ERR_ARGUMENT, ERR_SHAPE, ERR_OUT_OF_MEMORY, and
  /// ERR_DEVICE when the device lacks a kernel.
  Trainer(std::shared_ptr<ParameterStore> parameters, GraphDescription graph,
          const TrainerOptions& options, const Backend& backend);
  ~Trainer();

  [[nodiscard]] const GraphDescription& graph() const { return graph_; }
  /// "cpu", "cuda:0"
  [[nodiscard]] const char* device() const { return backend_.name(); }
  /// Numbers that evaluate() writes for `batch` rows: all elements of the graph's outputs. train()
  /// writes one more: the gradients' norm.
  [[nodiscard]] size_t results_of(int64_t batch) const;

  /// One optimizer step on `batch` rows. `inputs`: one pointer a graph input, of its dtype.
  /// Throws ERR_NUMERIC with the step's number, the parameters unchanged.
  void train(int64_t batch, const std::vector<const void*>& inputs, double learning_rate,
             double* results);
  /// The graph's outputs on `batch` rows in inference mode.
  void evaluate(int64_t batch, const std::vector<const void*>& inputs, double* results);

  /// Brings the host's copy of the parameters up to date with the device's, and the other way
  /// round. Nothing to do where both are the same memory.
  void sync();
  void upload();

  /// What the last step of `batch` rows took; infinite before the first.
  [[nodiscard]] double expected_step_ms(int64_t batch) const noexcept;
  [[nodiscard]] uint64_t step() const { return state_.step; }
  [[nodiscard]] Profile profile() const;

 private:
  struct Compiled;
  Compiled& compiled(int64_t batch, bool training);
  std::unique_ptr<Compiled> compile(int64_t batch, bool training);
  void run(Compiled& plan, const std::vector<const void*>& inputs, double* results);
  void reserve_arena(int64_t bytes);

  std::shared_ptr<ParameterStore> parameters_;
  GraphDescription graph_;
  TrainerOptions options_;
  int64_t fixed_results_ = 0;  ///< elements of all outputs whatever the batch
  int64_t row_results_ = 0;    ///< and those that come with each row
  const Backend& backend_;
  Memory device_parameters_;
  Memory gradients_;
  Memory optimizer_state_;
  Memory arena_;
  StepState state_{};
  std::unordered_map<int64_t, std::unique_ptr<Compiled>> plans_;  ///< by batch; negative: inference
  LatencyWindow latencies_;
};

}  // namespace tandem
