#include "binding/addon.h"

#include "binding/bound.h"
#include "binding/functions.h"
#include "binding/library.h"
#include "binding/parameters.h"
#include "binding/predictor.h"
#include "binding/staged.h"
#include "binding/trainer.h"

namespace tandem::binding {
namespace {

template <napi_value (*body)(const Call&)>
napi_property_descriptor function(const char* name, Addon* addon) {
  return {name, nullptr, entry<body>, nullptr, nullptr, nullptr, napi_enumerable, addon};
}

}  // namespace

Addon::Addon(napi_env env) : env_(env), completions_(env, *this) {}

Addon::~Addon() = default;

void Addon::load(Napi::Env env, Napi::Object exports) {
  keep_library_loaded();
  // Instance data owns one share, deleted by Node-API at the very end.
  auto owner = std::make_unique<std::shared_ptr<Addon>>(std::make_shared<Addon>(env));
  Addon* const addon = owner->get();
  check(env,
        napi_set_instance_data(
            env, owner.get(),
            [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<Addon>*>(data); },
            nullptr));
  static_cast<void>(owner.release());
  // After the thread-safe function, so that this hook runs before Node closes it.
  check(env, napi_add_env_cleanup_hook(env, shut_down, addon));

  const napi_property_descriptor functions[] = {
      function<binding::set_error_class>("setErrorClass", addon),
      function<cpu>("cpu", addon),
      function<devices>("devices", addon),
      function<find_device>("findDevice", addon),
      function<ops>("ops", addon),
      function<has_op>("hasOp", addon),
      function<infer>("infer", addon),
      function<lease>("lease", addon),
      function<end_lease>("endLease", addon),
      function<find_outside>("findOutside", addon),
      function<held_memory>("heldMemory", addon),
      function<find_non_finite>("findNonFinite", addon),
      function<read_cells>("readCells", addon),
      function<lower_priority>("lowerPriority", addon),
      function<evaluate>("evaluate", addon),
      function<vjp>("vjp", addon),
      function<PredictorObject::load>("loadPredictor", addon),
      function<PredictorObject::load_file>("loadPredictorFile", addon),
      function<PredictorObject::predict_sync>("predictSync", addon),
      function<PredictorObject::predict_here>("predictHere", addon),
      function<BindingObject::run_sync>("runSync", addon),
  };
  check(env, napi_define_properties(env, exports, std::size(functions), functions));
  exports.Set("version", TANDEM_VERSION);
  ParametersObject::define(env, exports, addon);
  TrainerObject::define(env, exports, addon);
  PredictorObject::define(env, exports, addon);
  BindingObject::define(env, exports, addon);
  StagedObject::define(env, exports, addon);
}

void Addon::shut_down(void* data) noexcept {
  Addon& addon = *static_cast<Addon*>(data);
  addon.training_.stop();
  addon.prediction_.stop();
  addon.completions_.drop();
  addon.error_class_.reset();
  for (Reference& constructor : addon.constructors_) constructor.reset();
}

}  // namespace tandem::binding

namespace {

Napi::Object load(Napi::Env env, Napi::Object exports) {
  tandem::binding::Addon::load(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(tandem_ml, load)
