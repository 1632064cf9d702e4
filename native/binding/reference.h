// A JavaScript value kept alive. It must die on the JavaScript thread, while the environment is
// still there: everything that holds one is either wrapped by an object (finalized in time) or a
// job (settled, or dropped by the cleanup hook).
#pragma once

#include <napi.h>

#include <utility>

#include "binding/errors.h"

namespace tandem::binding {

class Reference {
 public:
  Reference() = default;
  Reference(napi_env env, napi_value value) : env_(env) {
    check(env, napi_create_reference(env, value, 1, &reference_));
  }
  Reference(Reference&& other) noexcept
      : env_(other.env_), reference_(std::exchange(other.reference_, nullptr)) {}
  Reference& operator=(Reference&& other) noexcept {
    if (this != &other) {
      reset();
      env_ = other.env_;
      reference_ = std::exchange(other.reference_, nullptr);
    }
    return *this;
  }
  ~Reference() { reset(); }

  void reset() noexcept {
    if (reference_ != nullptr) napi_delete_reference(env_, std::exchange(reference_, nullptr));
  }
  /// The value, or null when there is none.
  [[nodiscard]] napi_value value() const noexcept {
    napi_value value = nullptr;
    if (reference_ != nullptr) napi_get_reference_value(env_, reference_, &value);
    return value;
  }

 private:
  napi_env env_ = nullptr;
  napi_ref reference_ = nullptr;
};

}  // namespace tandem::binding
