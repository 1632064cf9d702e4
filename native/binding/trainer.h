// The class Trainer.
#pragma once

#include <memory>

#include "binding/training.h"
#include "binding/wrap.h"

namespace tandem::binding {

class TrainerObject : public Wrapped<TrainerObject> {
 public:
  static constexpr ClassId kClass = ClassId::kTrainer;
  static constexpr const char* kName = "Trainer";
  static constexpr napi_type_tag kTag = {0x6a1d7f0e52c84b93, 0xb4416e9d08f7a25c};

  static std::unique_ptr<TrainerObject> create(const Call& call);
  static void define(napi_env env, napi_value exports, Addon* addon);
  TrainerObject(Addon& addon, std::shared_ptr<Training> training)
      : Wrapped(addon), training_(std::move(training)) {}

  /// Null once closed.
  [[nodiscard]] const std::shared_ptr<Training>& training() const { return training_; }

 private:
  napi_value train(const Call& call);
  napi_value evaluate(const Call& call);
  napi_value divisors(const Call& call);
  napi_value add_graph(const Call& call);
  napi_value stop(const Call& call);
  napi_value step(const Call& call);
  napi_value device(const Call& call);
  napi_value sync(const Call& call);
  napi_value upload(const Call& call);
  napi_value save_state(const Call& call);
  napi_value stage_state(const Call& call);
  napi_value load_state(const Call& call);
  napi_value copy_averages(const Call& call);
  napi_value progress(const Call& call);
  napi_value saved_layout(const Call& call);
  napi_value profile(const Call& call);
  napi_value close(const Call& call);

  Training& open();
  /// Argument `graph_at` says of which graph.
  napi_value submit(const Call& call, Work work, size_t graph_at);
  napi_value copy_parameters(const Call& call, bool to_host);

  std::shared_ptr<Training> training_;  ///< null once closed; jobs may go on sharing it
  uint64_t last_step_ = 0;              ///< of a closed trainer
};

}  // namespace tandem::binding
