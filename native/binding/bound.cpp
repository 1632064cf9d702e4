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
  napi_value finish(napi_env /*env*/) override {
    plan_->store();
    return nullptr;
  }

 private:
  Addon& addon_;  // outlives every job: its cleanup hook drops them
  std::shared_ptr<BoundPlan> plan_;
};

/// A buffer and its typed array for each tensor.
napi_value make_buffers(napi_env env, Addon& addon, const std::vector<Tensor>& tensors,
                        std::vector<SharedBuffer>& buffers) {
  Napi::Array list = Napi::Array::New(env, tensors.size());
  for (uint32_t i = 0; i < tensors.size(); ++i) {
    const int64_t bytes = byte_size(tensors[i]);
    buffers.emplace_back(env, addon, cpu_backend().allocate(bytes), bytes);
    napi_value array = nullptr;
    const bool is_float = tensors[i].dtype == DType::kFloat32;
    check(env, napi_create_typedarray(env, is_float ? napi_float32_array : napi_int32_array,
                                      static_cast<size_t>(tensors[i].numel),
                                      buffers.back().array_buffer(), 0, &array));
    list.Set(i, Napi::Value(env, array));
  }
  check(env, napi_object_freeze(env, list));
  return list;
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
                               int64_t rows) {
  const napi_env env = call.env();
  Addon& addon = call.addon();
  const Predictor::Shapes shapes = prediction->predictor.shapes(rows);
  auto plan = std::make_shared<BoundPlan>(std::move(prediction));
  Reference inputs(env, make_buffers(env, addon, shapes.inputs, plan->inputs));
  Reference outputs(env, make_buffers(env, addon, shapes.outputs, plan->outputs));
  std::vector<const void*> input_data;
  std::vector<void*> output_data;
  for (const SharedBuffer& buffer : plan->inputs) input_data.push_back(buffer.memory().data.get());
  for (const SharedBuffer& buffer : plan->outputs)
    output_data.push_back(buffer.memory().data.get());
  plan->session.bind(rows, input_data, output_data);

  return make_instance(env, addon, addon.new_binding(),
                       std::make_unique<BindingObject>(addon, std::move(plan), std::move(inputs),
                                                       std::move(outputs)));
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
