#include "binding/bound.h"

namespace tandem::binding {
namespace {

class BoundJob : public Job {
 public:
  BoundJob(Addon& addon, std::shared_ptr<BoundPlan> plan) : addon_(addon), plan_(std::move(plan)) {
    plan_->load();
    for (const SharedBuffer& output : plan_->outputs) addon_.leases().add(output.bytes());
    plan_->running = true;
  }
  ~BoundJob() override {
    for (const SharedBuffer& output : plan_->outputs) addon_.leases().remove(output.bytes());
    plan_->running = false;
  }
  void run(const std::atomic<bool>& /*halt*/) override { plan_->session.run_bound(); }
  [[nodiscard]] double expected_ms() const noexcept override {
    return plan_->session.expected_bound_ms();
  }
  [[nodiscard]] bool waits_for_device() const noexcept override {
    return plan_->prediction->predictor.on_device();
  }
  napi_value finish(napi_env /*env*/) override {
    plan_->store();
    return nullptr;
  }

 private:
  Addon& addon_;  // outlives every job: its cleanup hook drops them
  std::shared_ptr<BoundPlan> plan_;
};

/// A buffer and its typed array for `tensor`.
napi_value make_buffer(napi_env env, Addon& addon, const Tensor& tensor,
                       std::vector<SharedBuffer>& buffers) {
  const int64_t bytes = byte_size(tensor);
  buffers.emplace_back(env, addon, cpu_backend().allocate(bytes), bytes);
  napi_value array = nullptr;
  const bool is_float = tensor.dtype == DType::kFloat32;
  check(env, napi_create_typedarray(env, is_float ? napi_float32_array : napi_int32_array,
                                    static_cast<size_t>(tensor.numel),
                                    buffers.back().array_buffer(), 0, &array));
  return array;
}

Napi::Array frozen_list(napi_env env, const std::vector<napi_value>& values) {
  Napi::Array list = Napi::Array::New(env, values.size());
  for (uint32_t i = 0; i < values.size(); ++i) list.Set(i, Napi::Value(env, values[i]));
  check(env, napi_object_freeze(env, list));
  return list;
}

bool is_state(const InputDescription& input) { return input.shape.empty() || input.shape[0] != -1; }

/// Counts what `plan` is about to take, before any of it is taken. Throws ERR_OUT_OF_MEMORY.
void hold_memory(BoundPlan& plan, const Predictor::Shapes& shapes, const BoundPlan* like) {
  Predictor& predictor = plan.prediction->predictor;
  const std::vector<InputDescription>& described = predictor.graph(plan.which).inputs;
  int64_t buffers = 0;
  int64_t state = 0;
  for (size_t i = 0; i < described.size(); ++i) {
    int64_t& sum = plan.which > 0 && is_state(described[i]) ? state : buffers;
    sum = checked_add(sum, byte_size(shapes.inputs[i]));
  }
  for (const Tensor& tensor : shapes.outputs) buffers = checked_add(buffers, byte_size(tensor));
  plan.held_buffers = predictor.hold(buffers, 0);
  plan.held_state = like != nullptr ? like->held_state : predictor.hold(0, state);
}

}  // namespace

BindingObject::BindingObject(Addon& addon, std::shared_ptr<BoundPlan> plan, Reference inputs,
                             Reference outputs)
    : Wrapped(addon),
      plan_(std::move(plan)),
      inputs_(std::move(inputs)),
      outputs_(std::move(outputs)) {
  plan_->prediction->bindings.insert(this);
}

BindingObject::~BindingObject() { forget(); }

void BindingObject::forget() noexcept {
  if (plan_ != nullptr) plan_->prediction->bindings.erase(this);
  plan_ = nullptr;
}

std::unique_ptr<BindingObject> BindingObject::create(const Call& call) {
  return take_new(call.addon().new_binding(), "a Binding to be made by predictor.bind()");
}

napi_value BindingObject::bind(const Call& call, std::shared_ptr<Prediction> prediction,
                               int64_t rows, size_t which) {
  const napi_env env = call.env();
  Addon& addon = call.addon();
  const Predictor::Shapes shapes = prediction->predictor.shapes(rows, which);
  const std::vector<InputDescription>& described = prediction->predictor.graph(which).inputs;
  const std::shared_ptr<BoundPlan> like = shared_state(call, *prediction, which);
  auto plan = std::make_shared<BoundPlan>(std::move(prediction), which);
  hold_memory(*plan, shapes, like.get());
  std::vector<napi_value> inputs;
  std::vector<napi_value> outputs;
  std::vector<const void*> input_data;
  std::vector<void*> output_data;
  for (size_t i = 0; i < described.size(); ++i) {
    if (which > 0 && is_state(described[i])) {
      plan->state.push_back(like != nullptr ? like->state[plan->state.size()]
                                            : plan->prediction->predictor.allocate_state(
                                                  byte_size(shapes.inputs[i])));
      input_data.push_back(plan->state.back().data.get());
    } else {
      inputs.push_back(make_buffer(env, addon, shapes.inputs[i], plan->inputs));
      input_data.push_back(plan->inputs.back().memory().data.get());
    }
  }
  for (const Tensor& tensor : shapes.outputs) {
    outputs.push_back(make_buffer(env, addon, tensor, plan->outputs));
    output_data.push_back(plan->outputs.back().memory().data.get());
  }
  plan->session.bind(rows, input_data, output_data);

  return make_instance(env, addon, addon.new_binding(),
                       std::make_unique<BindingObject>(addon, std::move(plan),
                                                       Reference(env, frozen_list(env, inputs)),
                                                       Reference(env, frozen_list(env, outputs))));
}

/// The plan whose state a new Binding shares, if any. Jobs of one environment run one at a time.
std::shared_ptr<BoundPlan> BindingObject::shared_state(const Call& call,
                                                       const Prediction& prediction, size_t which) {
  if (call.count() < 3) return nullptr;
  auto* const other = unwrap<BindingObject>(call.env(), call.addon(), call[2]);
  if (other == nullptr || other->plan_ == nullptr ||
      other->plan_->prediction.get() != &prediction || other->plan_->which != which) {
    fail(ErrorCode::kArgument, "expected an open Binding of the same variant for `like`");
  }
  return other->plan_;
}

void BindingObject::define(napi_env env, napi_value exports, Addon* addon) {
  using T = BindingObject;
  define_class<T>(env, exports, addon,
                  {getter<T, &T::inputs>("inputs", addon), getter<T, &T::outputs>("outputs", addon),
                   key_getter<T>(addon), method<T, &T::run>("run", addon),
                   method<T, &T::close>("close", addon)});
}

BoundPlan& BindingObject::idle() {
  if (plan_ == nullptr) fail(ErrorCode::kClosed, "expected an open binding, received a closed one");
  if (plan_->running) fail(ErrorCode::kBusy, "expected an idle binding, received one in run()");
  for (const SharedBuffer& output : plan_->outputs) {
    if (addon().leases().overlaps(output.bytes())) {
      fail(ErrorCode::kBusy,
           "expected outputs of its own for the binding, received some that a pending call writes");
    }
  }
  return *plan_;
}

napi_value BindingObject::inputs(const Call& /*call*/) { return inputs_.value(); }

napi_value BindingObject::outputs(const Call& /*call*/) { return outputs_.value(); }

napi_value BindingObject::run_sync(const Call& call) {
  BoundPlan& plan = keyed<BindingObject>(call).idle();
  plan.load();
  plan.session.run_bound();
  plan.store();
  napi_value writing = nullptr;
  check(call.env(), napi_get_boolean(call.env(), !call.addon().leases().empty(), &writing));
  return writing;
}

napi_value BindingObject::run(const Call& call) {
  idle();
  return call.addon().completions().submit(call.addon().prediction(),
                                           std::make_unique<BoundJob>(call.addon(), plan_));
}

napi_value BindingObject::close(const Call& /*call*/) {
  forget();
  return nullptr;
}

}  // namespace tandem::binding
