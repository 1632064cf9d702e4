#include "binding/training_state.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "binding/values.h"

namespace tandem::binding {
namespace {

int64_t saved_bytes(const Training& training) {
  return checked_mul(training.trainer.saved_layout().floats(), int64_t{sizeof(float)});
}

/// A power of two: what doubling and halving makes of the first scale.
float read_scale(Napi::Value value, const std::string& name) {
  const double scale = read_finite(value, name);
  int exponent = 0;
  const auto narrow = static_cast<float>(scale);
  if (scale > 0 && std::isfinite(narrow) && std::frexp(narrow, &exponent) == 0.5F) return narrow;
  fail_expected(ErrorCode::kArgument, "a power of two", name, describe_value(value));
}

}  // namespace

SaveStateJob::SaveStateJob(Addon& addon, std::shared_ptr<Training> training)
    : addon_(addon), training_(std::move(training)) {
  training_->parameters->begin_use();
}

void SaveStateJob::run(const std::atomic<bool>& /*halt*/) {
  memory_ = cpu_backend().allocate(saved_bytes(*training_));
  training_->parameters->gate.visit(
      [this] { training_->trainer.save(reinterpret_cast<float*>(memory_.data.get())); });
}

napi_value SaveStateJob::finish(napi_env env) {
  const SharedBuffer buffer(env, addon_, memory_, saved_bytes(*training_));
  return buffer.array_buffer();
}

void stage_state(Training& training, const float* piece, int64_t floats, int64_t begin) {
  StagedState& staged = training.staged_state;
  if (begin == 0) staged = {cpu_backend().allocate(saved_bytes(training)), 0};
  const int64_t left = training.trainer.saved_layout().floats() - staged.floats;
  if (begin != staged.floats || floats > left) {
    fail_expected(
        ErrorCode::kArgument,
        "at most " + std::to_string(left) + " floats from " + std::to_string(staged.floats) + " on",
        "piece", std::to_string(floats) + " from " + std::to_string(begin) + " on");
  }
  if (floats == 0) return;
  auto* const to = reinterpret_cast<float*>(staged.memory.data.get());
  std::memcpy(to + begin, piece, static_cast<size_t>(floats) * sizeof(float));
  staged.floats += floats;
}

LoadStateJob::LoadStateJob(std::shared_ptr<Training> training, const Trainer::Progress& progress)
    : training_(std::move(training)), progress_(progress) {
  const int64_t floats = training_->trainer.saved_layout().floats();
  StagedState staged = std::exchange(training_->staged_state, {});
  if (staged.floats != floats) {
    fail_expected(ErrorCode::kArgument, "all of " + std::to_string(floats) + " floats", "state",
                  std::to_string(staged.floats));
  }
  memory_ = std::move(staged.memory);
  training_->parameters->begin_use();
}

void LoadStateJob::run(const std::atomic<bool>& /*halt*/) {
  training_->parameters->gate.visit([this] {
    training_->trainer.load(reinterpret_cast<const float*>(memory_.data.get()), progress_);
    training_->step = training_->trainer.step();
  });
  // Here, since giving large memory back takes the event loop milliseconds.
  memory_ = {};
}

napi_value make_progress(napi_env env, const Trainer::Progress& progress) {
  const auto object = Napi::Object::New(env);
  object.Set("step", static_cast<double>(progress.step));
  object.Set("backoff", progress.backoff);
  object.Set("goodSteps", progress.good_steps);
  object.Set("skips", progress.skips);
  object.Set("skipped", static_cast<double>(progress.skipped));
  object.Set("lossScale", static_cast<double>(progress.loss_scaler.scale));
  object.Set("scaleSteps", progress.loss_scaler.good_steps);
  return object;
}

Trainer::Progress read_progress(Napi::Value value, const std::string& name) {
  const Napi::Object object = read_object(value, name);
  const auto count = [&](const char* key, double high) {
    return read_integer(object.Get(key), name + "." + key, 0, high);
  };
  constexpr double kMostSteps = std::numeric_limits<int>::max();
  Trainer::Progress progress;
  progress.step = static_cast<uint64_t>(count("step", kMaxSafeInteger));
  progress.backoff = read_finite(object.Get("backoff"), name + ".backoff");
  if (progress.backoff < 0 || progress.backoff > 1) {
    fail_expected(ErrorCode::kArgument, "a number from 0 to 1", name + ".backoff",
                  describe_value(object.Get("backoff")));
  }
  progress.good_steps = static_cast<int>(count("goodSteps", kMostSteps));
  progress.skips = static_cast<int>(count("skips", kMostSteps));
  progress.skipped = static_cast<uint64_t>(count("skipped", static_cast<double>(progress.step)));
  progress.loss_scaler.scale = read_scale(object.Get("lossScale"), name + ".lossScale");
  progress.loss_scaler.good_steps =
      static_cast<int>(count("scaleSteps", LossScaler::kGrowthInterval - 1));
  return progress;
}

napi_value make_saved_layout(napi_env env, const Trainer::SavedLayout& layout) {
  const auto object = Napi::Object::New(env);
  object.Set("parameters", static_cast<double>(layout.parameters));
  object.Set("trainable", static_cast<double>(layout.trainable));
  object.Set("slots", static_cast<double>(layout.slots));
  object.Set("averages", layout.averages);
  return object;
}

}  // namespace tandem::binding
