// What a Trainer keeps beyond its life, on its way between native memory and JavaScript.
#pragma once

#include "binding/training.h"

namespace tandem::binding {

/// Trainer::save(), between two steps; resolves with the memory as an ArrayBuffer.
class SaveStateJob : public Job {
 public:
  SaveStateJob(Addon& addon, std::shared_ptr<Training> training);
  ~SaveStateJob() override { training_->parameters->end_use(); }
  void run(const std::atomic<bool>& halt) override;
  napi_value finish(napi_env env) override;

 private:
  Addon& addon_;
  std::shared_ptr<Training> training_;
  Memory memory_;
};

/// Trainer::load() of what stage_state() has copied, between two steps.
class LoadStateJob : public Job {
 public:
  /// Throws ERR_ARGUMENT where only a part of it was copied.
  LoadStateJob(std::shared_ptr<Training> training, const Trainer::Progress& progress);
  ~LoadStateJob() override { training_->parameters->end_use(); }
  void run(const std::atomic<bool>& halt) override;
  napi_value finish(napi_env /*env*/) override { return nullptr; }

 private:
  std::shared_ptr<Training> training_;
  Memory memory_;
  Trainer::Progress progress_;
};

/// Trainer::copy_averages(), between two steps.
class CopyAveragesJob : public Job {
 public:
  explicit CopyAveragesJob(std::shared_ptr<Training> training) : training_(std::move(training)) {
    training_->parameters->begin_use();
  }
  ~CopyAveragesJob() override { training_->parameters->end_use(); }
  void run(const std::atomic<bool>& /*halt*/) override {
    training_->parameters->gate.visit([this] { training_->trainer.copy_averages(); });
  }
  napi_value finish(napi_env /*env*/) override { return nullptr; }

 private:
  std::shared_ptr<Training> training_;
};

/// Copies a piece of what SaveStateJob gave, in their order; one from float 0 on begins anew.
/// Throws ERR_ARGUMENT.
void stage_state(Training& training, const float* piece, int64_t floats, int64_t begin);

napi_value make_progress(napi_env env, const Trainer::Progress& progress);
/// Throws ERR_ARGUMENT.
Trainer::Progress read_progress(Napi::Value value, const std::string& name);
napi_value make_saved_layout(napi_env env, const Trainer::SavedLayout& layout);

}  // namespace tandem::binding
