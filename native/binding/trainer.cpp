#include "binding/trainer.h"

#include <limits>

#include "binding/describe.h"
#include "binding/results.h"
#include "binding/training_state.h"
#include "binding/values.h"

namespace tandem::binding {
std::unique_ptr<TrainerObject> TrainerObject::create(const Call& call) {
  const napi_env env = call.env();
  std::shared_ptr<ParameterArena> arena = parameters_argument(call, 0);
  const GraphDescription graph = read_graph({env, call[1]}, "graph");
  const TrainerOptions options = read_trainer_options({env, call[2]}, "options");
  const auto object = Napi::Value(env, call[2]).As<Napi::Object>();
  const auto ranges = read_ranges(object.Get("ranges"), "options.ranges");
  const DeviceOption device = read_device(object.Get("device"), "options.device");
  auto training = std::make_shared<Training>(env, std::move(arena), graph, options, device, ranges);
  return std::make_unique<TrainerObject>(call.addon(), std::move(training));
}

void TrainerObject::define(napi_env env, napi_value exports, Addon* addon) {
  using T = TrainerObject;
  define_class<T>(
      env, exports, addon,
      {method<T, &T::train>("train", addon), method<T, &T::evaluate>("evaluate", addon),
       method<T, &T::divisors>("divisors", addon), method<T, &T::add_graph>("addGraph", addon),
       method<T, &T::stop>("stop", addon), getter<T, &T::step>("step", addon),
       getter<T, &T::device>("device", addon), method<T, &T::sync>("sync", addon),
       method<T, &T::upload>("upload", addon), method<T, &T::profile>("profile", addon),
       method<T, &T::save_state>("saveState", addon),
       method<T, &T::stage_state>("stageState", addon),
       method<T, &T::load_state>("loadState", addon),
       method<T, &T::copy_averages>("copyAverages", addon),
       getter<T, &T::progress>("progress", addon),
       getter<T, &T::saved_layout>("savedLayout", addon), method<T, &T::close>("close", addon)});
}

Training& TrainerObject::open() {
  if (training_ == nullptr)
    fail(ErrorCode::kClosed, "expected an open trainer, received a closed one");
  return *training_;
}

napi_value TrainerObject::submit(const Call& call, Work work, size_t graph_at) {
  const napi_env env = call.env();
  open();
  // Elements first: a getter among them may run anything, even close().
  const std::vector<napi_value> elements = list_elements(env, call[0], "inputs");
  Training& training = open();
  training.check_pending(work);
  const size_t which = training.read_which(call, graph_at);
  std::vector<uint32_t> rows = copy_uint32_array(env, call[1], "rows");
  std::vector<uint32_t> sizes = copy_uint32_array(env, call[2], "sizes");
  check_sizes(*training.rows[which], sizes, rows.size());
  TrainingPlan plan;
  if (work == Work::kTrain)
    plan = read_training_plan(call, 3, sizes.size(), training.trainer.scale_count());
  const std::vector<ArrayView> arrays = view_inputs(env, elements);

  StagedRows staged(training_, which, std::move(rows), std::move(sizes));
  staged.gathered().copy(staged.plan(), arrays, std::numeric_limits<size_t>::max());
  return call.addon().completions().submit(
      call.addon().training(),
      std::make_unique<TrainingJob>(call.addon(), std::move(staged), std::move(plan), work));
}

napi_value TrainerObject::train(const Call& call) { return submit(call, Work::kTrain, 7); }

napi_value TrainerObject::evaluate(const Call& call) {
  return submit(call, evaluation(call, 3), 4);
}

napi_value TrainerObject::divisors(const Call& call) { return submit(call, Work::kDivisors, 3); }

napi_value TrainerObject::add_graph(const Call& call) {
  open();
  // Read before the trainer is looked at: a getter among it may run anything, even close().
  GraphDescription graph = read_graph({call.env(), call[0]}, "graph");
  const auto ranges = read_ranges({call.env(), call[1]}, "ranges");
  const size_t which = open().add_graph(std::move(graph), ranges);
  return Napi::Number::New(call.env(), static_cast<double>(which));
}

napi_value TrainerObject::stop(const Call& call) {
  const Napi::Value evaluations(call.env(), call[0]);
  open().stop(!evaluations.IsUndefined() && read_boolean(evaluations, "evaluations"));
  return nullptr;
}

napi_value TrainerObject::step(const Call& call) {
  const uint64_t step = training_ == nullptr ? last_step_ : training_->step.load();
  return Napi::Number::New(call.env(), static_cast<double>(step));
}

napi_value TrainerObject::device(const Call& call) {
  return Napi::String::New(call.env(), open().trainer.device());
}

napi_value TrainerObject::copy_parameters(const Call& call, bool to_host) {
  open();
  return call.addon().completions().submit(call.addon().training(),
                                           std::make_unique<ParameterCopyJob>(training_, to_host));
}

napi_value TrainerObject::sync(const Call& call) { return copy_parameters(call, true); }

napi_value TrainerObject::upload(const Call& call) { return copy_parameters(call, false); }

napi_value TrainerObject::save_state(const Call& call) {
  open();
  return call.addon().completions().submit(call.addon().training(),
                                           std::make_unique<SaveStateJob>(call.addon(), training_));
}

napi_value TrainerObject::stage_state(const Call& call) {
  const napi_env env = call.env();
  Training& training = open();
  const int64_t begin = read_integer({env, call[1]}, "begin", 0);
  const ArrayView view = view_array(env, call[0], [] { return "piece"; });
  if (!is_exactly(view, DType::kFloat32)) fail_dtype(view, DType::kFloat32, "piece");
  binding::stage_state(training, static_cast<const float*>(view.data),
                       static_cast<int64_t>(view.length), begin);
  return nullptr;
}

napi_value TrainerObject::load_state(const Call& call) {
  open();
  const Trainer::Progress progress = read_progress({call.env(), call[0]}, "progress");
  // A getter among it may have run anything, even close().
  open();
  return call.addon().completions().submit(call.addon().training(),
                                           std::make_unique<LoadStateJob>(training_, progress));
}

napi_value TrainerObject::copy_averages(const Call& call) {
  open();
  return call.addon().completions().submit(call.addon().training(),
                                           std::make_unique<CopyAveragesJob>(training_));
}

napi_value TrainerObject::progress(const Call& call) {
  Training& training = open();
  return make_progress(call.env(), training.parameters->gate.visit(
                                       [&training] { return training.trainer.progress(); }));
}

napi_value TrainerObject::saved_layout(const Call& call) {
  return make_saved_layout(call.env(), open().trainer.saved_layout());
}

napi_value TrainerObject::profile(const Call& call) {
  return make_profile(call.env(), open().profile());
}

napi_value TrainerObject::close(const Call& /*call*/) {
  if (training_ == nullptr) return nullptr;
  training_->stop(true);
  training_->closed = true;
  last_step_ = training_->step;
  training_ = nullptr;  // pending jobs hold on to it until they are settled
  return nullptr;
}

}  // namespace tandem::binding
