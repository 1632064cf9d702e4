#include "binding/staged.h"

#include "binding/trainer.h"
#include "binding/values.h"

namespace tandem::binding {

std::unique_ptr<StagedObject> StagedObject::create(const Call& call) {
  const napi_env env = call.env();
  auto* const trainer = unwrap<TrainerObject>(env, call.addon(), call[0]);
  if (trainer == nullptr) {
    fail_expected(ErrorCode::kArgument, "a Trainer", "trainer", describe_value({env, call[0]}));
  }
  if (trainer->training() == nullptr) {
    fail(ErrorCode::kClosed, "expected an open trainer, received a closed one");
  }
  std::vector<uint32_t> rows = copy_uint32_array(env, call[1], "rows");
  std::vector<uint32_t> sizes = copy_uint32_array(env, call[2], "sizes");
  const size_t which = trainer->training()->read_which(call, 3);
  check_sizes(*trainer->training()->rows[which], sizes, rows.size());
  return std::make_unique<StagedObject>(
      call.addon(),
      std::make_unique<StagedRows>(trainer->training(), which, std::move(rows), std::move(sizes)));
}

void StagedObject::define(napi_env env, napi_value exports, Addon* addon) {
  using T = StagedObject;
  define_class<T>(
      env, exports, addon,
      {method<T, &T::copy>("copy", addon), method<T, &T::train>("train", addon),
       method<T, &T::evaluate>("evaluate", addon), method<T, &T::divisors>("divisors", addon),
       method<T, &T::close>("close", addon)});
}

StagedRows& StagedObject::open() {
  if (rows_ != nullptr && rows_->training()->closed) rows_ = nullptr;
  if (rows_ == nullptr) {
    fail(ErrorCode::kClosed, "expected open rows of an open trainer, received closed ones");
  }
  return *rows_;
}

napi_value StagedObject::copy(const Call& call) {
  const napi_env env = call.env();
  const auto bytes = static_cast<size_t>(read_integer({env, call[1]}, "bytes", 4));
  const std::vector<napi_value> elements = list_elements(env, call[0], "inputs");
  StagedRows& rows = open();
  rows.gathered().copy(rows.plan(), view_inputs(env, elements), bytes);
  return Napi::Boolean::New(env, rows.gathered().complete());
}

napi_value StagedObject::submit(const Call& call, Work work) {
  StagedRows& rows = open();
  if (!rows.gathered().complete()) {
    fail(ErrorCode::kArgument, "expected rows that have been copied, received a part of them");
  }
  rows.training()->check_pending(work);
  TrainingPlan plan;
  if (work == Work::kTrain)
    plan = read_training_plan(call, 0, rows.sizes().size(), rows.training()->trainer.scale_count());
  const std::unique_ptr<StagedRows> taken = std::move(rows_);
  auto job = std::make_unique<TrainingJob>(call.addon(), std::move(*taken), std::move(plan), work);
  return call.addon().completions().submit(call.addon().training(), std::move(job));
}

napi_value StagedObject::train(const Call& call) { return submit(call, Work::kTrain); }

napi_value StagedObject::evaluate(const Call& call) { return submit(call, evaluation(call, 0)); }

napi_value StagedObject::divisors(const Call& call) { return submit(call, Work::kDivisors); }

napi_value StagedObject::close(const Call& /*call*/) {
  rows_ = nullptr;
  return nullptr;
}

}  // namespace tandem::binding
