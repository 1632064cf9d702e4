// One call from JavaScript: its arguments, and the guard that every entry point stands behind.
#pragma once

#include <napi.h>

#include <vector>

#include "binding/errors.h"

namespace tandem::binding {

class Call {
 public:
  Call(napi_env env, napi_callback_info info);

  [[nodiscard]] napi_env env() const { return env_; }
  [[nodiscard]] Addon& addon() const { return *addon_; }
  [[nodiscard]] napi_value self() const { return self_; }
  [[nodiscard]] size_t count() const { return count_; }
  /// Argument `i`; undefined when it is missing.
  [[nodiscard]] napi_value operator[](size_t i) const;

 private:
  static constexpr size_t kInline = 8;

  napi_env env_;
  Addon* addon_ = nullptr;
  napi_value self_ = nullptr;
  size_t count_ = kInline;
  napi_value inline_[kInline];
  std::vector<napi_value> all_;  ///< used when there are more than kInline
};

/// Throws the exception in flight into JavaScript. Call it inside a catch block.
void raise(napi_env env, napi_callback_info info) noexcept;

/// The callback for `body`: no C++ exception gets past it.
template <napi_value (*body)(const Call&)>
napi_value entry(napi_env env, napi_callback_info info) noexcept {
  try {
    return body(Call(env, info));
  } catch (...) {
    raise(env, info);
    return nullptr;
  }
}

}  // namespace tandem::binding
