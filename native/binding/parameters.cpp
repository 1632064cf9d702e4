#include "binding/parameters.h"

#include "binding/describe.h"
#include "binding/values.h"

namespace tandem::binding {

std::unique_ptr<ParametersObject> ParametersObject::create(const Call& call) {
  const napi_env env = call.env();
  auto descriptions = read_parameters({env, call[0]}, "parameters");
  const auto seed = static_cast<uint64_t>(read_integer({env, call[1]}, "seed", 0));
  auto store = std::make_shared<ParameterStore>(std::move(descriptions), seed);
  // The memory itself, not the store, is what views keep alive.
  SharedBuffer buffer(env, call.addon(), store->memory(), store->layout().bytes);
  auto arena = std::make_shared<ParameterArena>(std::move(store), std::move(buffer));
  return std::make_unique<ParametersObject>(call.addon(), std::move(arena));
}

void ParametersObject::define(napi_env env, napi_value exports, Addon* addon) {
  define_class<ParametersObject>(
      env, exports, addon,
      {getter<ParametersObject, &ParametersObject::buffer>("buffer", addon),
       getter<ParametersObject, &ParametersObject::offsets>("offsets", addon),
       method<ParametersObject, &ParametersObject::release>("release", addon)});
}

const std::shared_ptr<ParameterArena>& ParametersObject::arena() const {
  if (arena_ == nullptr) {
    fail(ErrorCode::kClosed, "expected parameters in memory, received released ones");
  }
  return arena_;
}

napi_value ParametersObject::release(const Call& /*call*/) {
  if (arena_ == nullptr) return nullptr;
  if (arena_.use_count() > 1) {
    fail(ErrorCode::kBusy,
         "expected parameters that nobody uses, received some of a trainer or of a predictor in "
         "the making");
  }
  arena_->buffer.release();
  arena_ = nullptr;
  return nullptr;
}

napi_value ParametersObject::buffer(const Call& /*call*/) { return arena()->buffer.array_buffer(); }

napi_value ParametersObject::offsets(const Call& call) {
  const std::vector<int64_t>& offsets = arena()->store->layout().offsets;
  Napi::Array list = Napi::Array::New(call.env(), offsets.size());
  for (uint32_t i = 0; i < offsets.size(); ++i) {
    list.Set(i, Napi::Number::New(call.env(), static_cast<double>(offsets[i])));
  }
  return list;
}

const std::shared_ptr<ParameterArena>& parameters_argument(const Call& call, size_t i) {
  auto* const object = unwrap<ParametersObject>(call.env(), call.addon(), call[i]);
  if (object == nullptr) {
    fail_expected(ErrorCode::kArgument, "a Parameters object", "parameters",
                  describe_value({call.env(), call[i]}));
  }
  return object->arena();
}

}  // namespace tandem::binding
