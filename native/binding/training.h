// A core Trainer shared by its object, on the JavaScript thread, and its jobs, on the training
// lane. Whoever lets go last frees it: always the JavaScript thread, since jobs die there too.
#pragma once

#include <array>
#include <atomic>
#include <mutex>
#include <optional>

#include "binding/device.h"
#include "binding/gather.h"
#include "binding/lane.h"
#include "binding/parameters.h"
#include "core/trainer.h"

namespace tandem::binding {

class StagedRows;

/// Calls of train() that have not begun, so that the last step of the one before can announce the
/// first of theirs. They end on the thread that makes them, and not while another one runs.
class TrainingQueue {
 public:
  explicit TrainingQueue(size_t most) { waiting_.reserve(most); }
  /// One of `most` at a time.
  void push(const void* call, const StagedRows* rows) noexcept;
  void remove(const void* call) noexcept;
  /// On the lane: a call begins. Whether its first step has been announced.
  bool begin(const void* call) noexcept;
  /// On the lane: the inputs of the next call's first step, if that has so many rows of that graph.
  bool announce_first(uint32_t rows, size_t which, std::vector<const void*>& inputs);

 private:
  struct Waiting {
    const void* call;
    const StagedRows* rows;
  };
  std::mutex mutex_;
  std::vector<Waiting> waiting_;     ///< oldest first
  const void* announced_ = nullptr;  ///< of the lane
};

/// What is to be loaded, as far as it was copied.
struct StagedState {
  Memory memory;
  int64_t floats = 0;
};

struct Training {
  Training(napi_env env, std::shared_ptr<ParameterArena> parameters, const GraphDescription& graph,
           const TrainerOptions& options, const DeviceOption& device,
           const std::vector<std::optional<IntegerRange>>& ranges);

  std::shared_ptr<ParameterArena> parameters;
  std::string device_reason;  ///< why 'auto' is the CPU
  Trainer trainer;            ///< used behind the arena's gate

  /// Calls of one kind that may be pending: one runs while the next one's rows are gathered.
  static constexpr int kMaxPending = 2;
  TrainingQueue queue{kMaxPending};
  std::atomic<uint64_t> step{0};  ///< written by the lane
  // Written by stop(): jobs made before it end.
  std::atomic<uint32_t> stop_count{0};
  std::atomic<uint32_t> evaluation_stop_count{0};

  // Of the job that runs: where the inputs of its step lie, and those of the next.
  std::vector<const void*> inputs;
  std::vector<const void*> next;

  // Of the JavaScript thread.
  std::vector<std::unique_ptr<const RowPlan>> rows;  ///< by graph of the trainer
  StagingPool staging;                               ///< of the trainer's device
  std::array<int, 4> pending{};                      ///< by Work
  StagedState staged_state;
  bool closed = false;
  uint64_t reported_size = 0;
  ExternalMemory memory;

  /// Who ends a training may still want to know what an evaluation says, and all of it.
  void stop(bool evaluations) {
    ++stop_count;
    if (evaluations) ++evaluation_stop_count;
  }
  /// Throws ERR_BUSY when as many calls are pending as may be.
  void check_pending(Work work) const;
  Profile profile() {
    Profile profile = parameters->gate.visit([this] { return trainer.profile(); });
    profile.device_reason = device_reason;
    return profile;
  }
  /// Adds a graph to the trainer, and says which it is. Throws as Trainer::add_graph().
  size_t add_graph(GraphDescription graph, const std::vector<std::optional<IntegerRange>>& ranges);
  [[nodiscard]] std::unique_ptr<const RowPlan> make_rows(
      const GraphDescription& graph, const std::vector<std::optional<IntegerRange>>& ranges) const;
  /// Number `index` of the arguments: which of the graphs, the first by default. Throws
  /// ERR_ARGUMENT.
  [[nodiscard]] size_t read_which(const Call& call, size_t index) const;
  /// Tells V8 what a trainer holds whose largest step had so many elements.
  void report_memory(uint64_t size, const MemoryUse& use);
};

/// What a call of train() says of its micro-batches, one number each but for scales.
struct TrainingPlan {
  std::vector<double> learning_rates;
  std::vector<double> weights;  ///< empty: each is a step
  std::vector<uint32_t> marks;  ///< kFirst and kLast of a step
  std::vector<double> scales;   ///< Trainer::scale_count() for each; empty: 1
  static constexpr uint32_t kFirst = 1;
  static constexpr uint32_t kLast = 2;
};

/// Argument `index` of evaluate(): whether of averages. Throws ERR_ARGUMENT.
Work evaluation(const Call& call, size_t index);

/// Arguments from `first` on: learning rates and, where steps have several micro-batches, weights,
/// ends of steps and `scales` numbers for each. Throws ERR_DTYPE, ERR_SHAPE, ERR_ARGUMENT.
TrainingPlan read_training_plan(const Call& call, size_t first, size_t micro_batches,
                                size_t scales);

/// Rows for the steps of one call, in staging memory that goes back to its trainer. Of the
/// JavaScript thread, but for reading.
class StagedRows {
 public:
  /// Of graph number `which` of the trainer.
  StagedRows(std::shared_ptr<Training> training, size_t which, std::vector<uint32_t> rows,
             std::vector<uint32_t> sizes);
  StagedRows(StagedRows&&) = default;
  StagedRows& operator=(StagedRows&&) = delete;
  ~StagedRows();

  [[nodiscard]] const std::shared_ptr<Training>& training() const { return training_; }
  [[nodiscard]] size_t which() const { return which_; }
  /// How its inputs are cut into steps.
  [[nodiscard]] const RowPlan& plan() const { return *plan_; }
  [[nodiscard]] GatheredRows& gathered() { return gathered_; }
  [[nodiscard]] size_t inputs() const { return gathered_.inputs(); }
  /// Where each input of a step that begins with this row lies.
  void find_inputs(size_t first_row, std::vector<const void*>& inputs) const;
  [[nodiscard]] const std::vector<uint32_t>& sizes() const { return sizes_; }
  /// Whether Training::stop() has been called for such work since these were made.
  [[nodiscard]] bool stopped(Work work) const {
    const bool evaluates = work == Work::kEvaluate || work == Work::kEvaluateAverages;
    return evaluates ? training_->evaluation_stop_count != evaluation_stop_count_
                     : training_->stop_count != stop_count_;
  }

 private:
  std::shared_ptr<Training> training_;  ///< null when moved from
  size_t which_;
  const RowPlan* plan_;  ///< of training_
  std::vector<uint32_t> sizes_;
  GatheredRows gathered_;
  uint32_t stop_count_;
  uint32_t evaluation_stop_count_;
};

/// sync() or upload(): the parameters between the device and the host, between two steps.
class ParameterCopyJob : public Job {
 public:
  ParameterCopyJob(std::shared_ptr<Training> training, bool to_host)
      : training_(std::move(training)), to_host_(to_host) {
    training_->parameters->begin_use();
  }
  ~ParameterCopyJob() override { training_->parameters->end_use(); }
  void run(const std::atomic<bool>& halt) override;
  napi_value finish(napi_env /*env*/) override { return nullptr; }

 private:
  std::shared_ptr<Training> training_;
  bool to_host_;
};

/// One call of train(), evaluate() or divisors(): steps over rows that have been gathered.
class TrainingJob : public Job {
 public:
  /// Throws ERR_BUSY when a pending call writes to the parameters as its output.
  TrainingJob(Addon& addon, StagedRows rows, TrainingPlan plan, Work work);
  ~TrainingJob() override;
  void on_push() noexcept override;
  void run(const std::atomic<bool>& halt) override;
  [[nodiscard]] double expected_ms() const noexcept override;
  [[nodiscard]] bool waits_for_device() const noexcept override {
    return training_.trainer.on_device();
  }
  napi_value finish(napi_env env) override;

 private:
  [[nodiscard]] bool trains() const { return work_ == Work::kTrain; }
  void lease_parameters();
  bool find_next(size_t i, size_t first_row, std::vector<const void*>& next);
  [[nodiscard]] double* results() noexcept;
  void run_step(size_t i, const std::vector<const void*>& inputs,
                const std::vector<const void*>* next);
  [[nodiscard]] MicroBatch micro_batch(size_t i) const;

  Addon& addon_;  // outlives every job: its cleanup hook drops them
  StagedRows rows_;
  Training& training_;  // kept alive by rows_
  TrainingPlan plan_;
  Work work_;
  std::vector<size_t> offsets_;  ///< of each step's results, and their end
  std::vector<double> results_;
  Memory shared_;  ///< in place of results_ where they are many, so that nothing is copied
  size_t done_ = 0;
  uint64_t largest_;                 ///< elements of a step
  bool may_grow_;                    ///< no step before had so many
  std::optional<MemoryUse> memory_;  ///< once run() has found out
};

}  // namespace tandem::binding
