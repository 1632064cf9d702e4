// A core Trainer shared by its object, on the JavaScript thread, and its jobs, on the training
// lane. Whoever lets go last frees it: always the JavaScript thread, since jobs die there too.
#pragma once

#include <atomic>

#include "binding/gather.h"
#include "binding/lane.h"
#include "binding/parameters.h"
#include "core/trainer.h"

namespace tandem::binding {

struct Training {
  Training(napi_env env, std::shared_ptr<ParameterArena> parameters, GraphDescription graph,
           const TrainerOptions& options);

  std::shared_ptr<ParameterArena> parameters;
  Trainer trainer;  ///< used behind the arena's gate
  RowPlan rows;

  std::atomic<uint64_t> step{0};        ///< written by the lane
  std::atomic<uint32_t> stop_count{0};  ///< written by stop(): jobs made before it end

  // Of the JavaScript thread.
  StagingPool staging;
  int pending_train = 0;
  int pending_evaluate = 0;
  uint32_t reported_rows = 0;
  ExternalMemory memory;

  void stop() { ++stop_count; }
  Profile profile() {
    return parameters->gate.visit([this] { return trainer.profile(); });
  }
  /// After a job whose largest step had so many rows, if that may have taken more memory.
  void report_memory(uint32_t rows);
};

/// One call of train() or evaluate(): steps over rows that were gathered when it was made.
class TrainingJob : public Job {
 public:
  /// Throws ERR_BUSY when a pending call writes to the parameters as its output.
  TrainingJob(Addon& addon, std::shared_ptr<Training> training, GatheredRows rows,
              std::vector<uint32_t> sizes, std::vector<double> learning_rates, bool train);
  ~TrainingJob() override;
  void run(const std::atomic<bool>& halt) override;
  napi_value finish(napi_env env) override;

 private:
  void lease_parameters();
  void run_step(size_t i, const std::vector<const void*>& inputs);

  Addon& addon_;  // outlives every job: its cleanup hook drops them
  std::shared_ptr<Training> training_;
  GatheredRows rows_;
  std::vector<uint32_t> sizes_;
  std::vector<double> learning_rates_;
  bool train_;
  uint32_t stop_count_;  ///< when the job was made
  size_t width_;         ///< results a step
  std::vector<double> results_;
  size_t done_ = 0;
};

}  // namespace tandem::binding
