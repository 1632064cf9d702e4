// A core Predictor shared by its object, its jobs and its Bindings. Every caller has a Session of
// its own: predictSync() on the JavaScript thread, the prediction lane, and each Binding.
#pragma once

#include <memory>
#include <unordered_set>
#include <vector>

#include "binding/arrays.h"
#include "binding/call.h"
#include "binding/joined_runs.h"
#include "binding/lane.h"
#include "binding/shared_buffer.h"
#include "binding/shared_predictors.h"
#include "binding/signature.h"
#include "binding/staging.h"
#include "core/predictor.h"

namespace tandem::binding {

class BindingObject;

struct Prediction {
  /// Runs graph `graph` of the predictor.
  Prediction(napi_env env, LoadedPredictor loaded, size_t graph = 0);

  /// Maybe also that of other environments. Before its sessions: they refer to it.
  const std::shared_ptr<Predictor> owned;
  const size_t which;               ///< of the predictor's graphs
  const std::string device_reason;  ///< why 'auto' is the CPU
  Predictor& predictor = *owned;
  Predictor::Session sync_session{predictor, which};
  Predictor::Session lane_session{predictor, which};
  size_t input_count;
  size_t output_count;

  // Of the JavaScript thread.
  std::unordered_set<BindingObject*> bindings;
  CallStaging staging{predictor.backend()};
  Staging converted;  ///< integers that predictSync() could not read in place
  Staging aside;      ///< outputs that become JavaScript's when their run is over
  std::vector<const void*> sync_inputs;
  std::vector<void*> sync_outputs;
  std::vector<void*> aside_outputs;  ///< in `aside`
  int64_t reported_rows = 0;
  ExternalMemory memory;

  // Of the prediction lane.
  std::vector<const void*> lane_inputs;
  std::vector<void*> lane_outputs;
  JoinedRuns joined{predictor, which};

  [[nodiscard]] Profile profile() const {
    Profile profile = predictor.profile();
    profile.device_reason = device_reason;
    return profile;
  }
  /// Remembered for the numbers of rows that came last; the reference holds until the next call.
  const std::shared_ptr<const Signature>& signature(int64_t rows);
  /// After a run of so many rows or a new Binding, if it may have taken more memory.
  void report_memory(int64_t rows, int64_t bytes);
  /// "x" for input 0, "outputs[0]" for output 0: what messages call array `i`.
  [[nodiscard]] std::string name_of(size_t i) const;
  /// Checks type and length of array `i` of a call.
  void check_array(const Signature& signature, size_t i, const ArrayView& array) const;

 private:
  std::vector<std::shared_ptr<const Signature>> signatures_;
  size_t next_signature_ = 0;
};

/// One call of predict(). Inputs were copied when it was made; outputs are written by finish(),
/// after it has made sure that their memory is still there, or made by it when none were given.
/// A thousand of these may be made in one turn of the event loop: for a call without outputs the
/// constructor allocates nothing once the pool of staging blocks has grown.
class PredictionJob : public Job {
 public:
  /// Arguments from `first` on are the inputs, then the outputs or nothing. `cancel` may be null.
  /// Throws ERR_BUSY when an output overlaps that of a pending call.
  PredictionJob(const Call& call, std::shared_ptr<Prediction> prediction, int64_t rows,
                size_t first, napi_value cancel);
  ~PredictionJob() override;
  void run(const std::atomic<bool>& halt) override;
  void meet(Job& next) noexcept override;
  [[nodiscard]] double expected_ms() const noexcept override;
  [[nodiscard]] bool waits_for_device() const noexcept override {
    return prediction_->predictor.on_device();
  }
  napi_value finish(napi_env env) override;

 private:
  struct Output {
    Reference array;
    ByteRange lease;
  };
  /// Makes a run of this job and those behind it that are calls of the same predictor.
  void run_joined(Job& next);
  ArrayView checked_view(const Call& call, size_t first, size_t i) const;
  void copy_inputs(const Call& call, size_t first);
  void lease_outputs(const Call& call, size_t first);
  void drop_leases() noexcept;
  [[nodiscard]] bool cancelled(napi_env env) const;
  napi_value make_outputs(napi_env env) const;
  void write_outputs(napi_env env) const;

  Addon& addon_;  // outlives every job: its cleanup hook drops them
  std::shared_ptr<Prediction> prediction_;
  std::shared_ptr<const Signature> signature_;
  StagingPool& pool_;  ///< of staging_
  Staging staging_;
  std::vector<Output> outputs_;  ///< empty when finish() makes them
  Reference cancel_;
  bool cancellable_ = false;
  bool has_run_ = false;  ///< with that of another job; of the lane
  bool may_grow_;         ///< no call before had so many rows
  int64_t bytes_ = -1;    ///< what the predictor holds, once run() has found out
};

}  // namespace tandem::binding
