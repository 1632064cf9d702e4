#include "binding/call.h"

#include "binding/addon.h"

namespace tandem::binding {

Call::Call(napi_env env, napi_callback_info info) : env_(env) {
  void* addon = nullptr;
  check(env, napi_get_cb_info(env, info, &count_, inline_, &self_, &addon));
  addon_ = static_cast<Addon*>(addon);
  if (count_ > kInline) {
    all_.resize(count_);
    check(env, napi_get_cb_info(env, info, &count_, all_.data(), nullptr, nullptr));
  }
}

napi_value Call::operator[](size_t i) const {
  if (i < kInline) return inline_[i];  // Node-API fills what is missing with undefined
  if (i < all_.size()) return all_[i];
  napi_value undefined = nullptr;
  check(env_, napi_get_undefined(env_, &undefined));
  return undefined;
}

void raise(napi_env env, napi_callback_info info) noexcept {
  void* addon = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &addon);
  napi_value error = make_current_error(env, *static_cast<Addon*>(addon));
  // Null, or a failure here: the environment is being terminated and throws on its own.
  if (error != nullptr) napi_throw(env, error);
}

}  // namespace tandem::binding
