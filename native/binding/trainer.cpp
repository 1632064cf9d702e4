#include "binding/trainer.h"

#include <cmath>
#include <numeric>

#include "binding/describe.h"
#include "binding/results.h"
#include "binding/values.h"

namespace tandem::binding {
namespace {

// One runs while the next one's rows are gathered.
constexpr int kMaxPending = 2;

void check_sizes(const RowPlan& plan, const std::vector<uint32_t>& sizes, size_t rows) {
  if (sizes.empty()) fail_expected(ErrorCode::kShape, "1 step or more", "sizes", "0");
  uint64_t sum = 0;
  for (const uint32_t size : sizes) {
    if (size == 0) fail_expected(ErrorCode::kShape, "1 row or more in each step", "sizes", "0");
    if (plan.fixed_batch > 0 && size != plan.fixed_batch) {
      fail_expected(ErrorCode::kShape,
                    "the graph's fixed batch of " + std::to_string(plan.fixed_batch) + " rows",
                    "sizes", std::to_string(size));
    }
    sum += size;
  }
  if (sum != rows) {
    fail_expected(ErrorCode::kShape, "as many rows as the sizes' sum of " + std::to_string(sum),
                  "rows", std::to_string(rows));
  }
}

std::vector<double> read_learning_rates(napi_env env, napi_value value, size_t steps) {
  const ArrayView view = view_array(env, value, [] { return "learningRates"; });
  if (view.type != napi_float64_array) {
    fail_expected(ErrorCode::kDType, "a Float64Array", "learningRates", type_name(view.type));
  }
  if (view.length != steps) {
    fail_length(static_cast<int64_t>(steps), view.length, "learningRates");
  }
  const auto* data = static_cast<const double*>(view.data);
  std::vector<double> rates(data, data + view.length);
  for (const double rate : rates) {
    if (!std::isfinite(rate)) {
      fail_expected(ErrorCode::kArgument, "finite numbers", "learningRates", std::to_string(rate));
    }
  }
  return rates;
}

}  // namespace

std::unique_ptr<TrainerObject> TrainerObject::create(const Call& call) {
  const napi_env env = call.env();
  std::shared_ptr<ParameterArena> arena = parameters_argument(call, 0);
  GraphDescription graph = read_graph({env, call[1]}, "graph");
  const TrainerOptions options = read_trainer_options({env, call[2]}, "options");
  auto training = std::make_shared<Training>(env, std::move(arena), std::move(graph), options);
  return std::make_unique<TrainerObject>(call.addon(), std::move(training));
}

void TrainerObject::define(napi_env env, napi_value exports, Addon* addon) {
  using T = TrainerObject;
  define_class<T>(env, exports, addon,
                  {method<T, &T::train>("train", addon), method<T, &T::evaluate>("evaluate", addon),
                   method<T, &T::stop>("stop", addon), getter<T, &T::step>("step", addon),
                   method<T, &T::profile>("profile", addon), method<T, &T::close>("close", addon)});
}

Training& TrainerObject::open() {
  if (training_ == nullptr)
    fail(ErrorCode::kClosed, "expected an open trainer, received a closed one");
  return *training_;
}

napi_value TrainerObject::submit(const Call& call, bool train) {
  const napi_env env = call.env();
  open();
  // Elements first: a getter among them may run anything, even close().
  const std::vector<napi_value> elements = list_elements(env, call[0], "inputs");
  Training& training = open();
  if ((train ? training.pending_train : training.pending_evaluate) >= kMaxPending) {
    fail(ErrorCode::kBusy, std::string("expected at most two pending calls of ") +
                               (train ? "train()" : "evaluate()") + ", received a third");
  }
  const std::vector<uint32_t> rows = copy_uint32_array(env, call[1], "rows");
  std::vector<uint32_t> sizes = copy_uint32_array(env, call[2], "sizes");
  check_sizes(training.rows, sizes, rows.size());
  std::vector<double> rates;
  if (train) rates = read_learning_rates(env, call[3], sizes.size());

  std::vector<ArrayView> arrays;
  for (napi_value element : elements) {
    arrays.push_back(
        view_array(env, element, [&] { return "inputs[" + std::to_string(arrays.size()) + "]"; }));
  }
  GatheredRows gathered{training.staging.take(), {}};
  gather_rows(training.rows, arrays, rows, gathered);
  return call.addon().completions().submit(
      call.addon().training(),
      std::make_unique<TrainingJob>(call.addon(), training_, std::move(gathered), std::move(sizes),
                                    std::move(rates), train));
}

napi_value TrainerObject::train(const Call& call) { return submit(call, true); }

napi_value TrainerObject::evaluate(const Call& call) { return submit(call, false); }

napi_value TrainerObject::stop(const Call& /*call*/) {
  open().stop();
  return nullptr;
}

napi_value TrainerObject::step(const Call& call) {
  const uint64_t step = training_ == nullptr ? last_step_ : training_->step.load();
  return Napi::Number::New(call.env(), static_cast<double>(step));
}

napi_value TrainerObject::profile(const Call& call) {
  return make_profile(call.env(), open().profile());
}

napi_value TrainerObject::close(const Call& /*call*/) {
  if (training_ == nullptr) return nullptr;
  training_->stop();
  last_step_ = training_->step;
  training_ = nullptr;  // pending jobs hold on to it until they are settled
  return nullptr;
}

}  // namespace tandem::binding
