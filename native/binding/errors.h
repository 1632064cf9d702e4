// Exceptions at the border. Below it everything throws tandem::Error or a standard exception; above
// it JavaScript sees instances of the class given to setErrorClass() and nothing else.
#pragma once

#include <napi.h>

#include <string>

#include "core/error.h"

namespace tandem::binding {

class Addon;

/// An error on its way from a lane to the JavaScript thread.
struct Failure {
  ErrorCode code = ErrorCode::kArgument;
  std::string message;
};

/// The exception in flight. Call it inside a catch block, on any thread.
Failure current_failure() noexcept;

/// `failure` as an object of the registered class; null only when JavaScript can no longer run.
napi_value make_error(napi_env env, Addon& addon, const Failure& failure) noexcept;

/// The exception in flight as an error object. Also takes what JavaScript threw (a getter, a
/// proxy): it becomes the `cause` of an ERR_ARGUMENT. Call it inside a catch block, on the
/// JavaScript thread.
napi_value make_current_error(napi_env env, Addon& addon) noexcept;

/// A call of Node-API failed. What JavaScript threw, if anything, is still pending. Not a
/// Napi::Error: making one runs JavaScript, which a worker thread that is being terminated refuses.
struct NodeApiFailure {
  const char* reason;  ///< Node's own words, never null
};

/// Throws NodeApiFailure unless `status` is napi_ok.
void check(napi_env env, napi_status status);

/// "expected `what` for `name`, received `received`"
[[noreturn]] void fail_expected(ErrorCode code, const std::string& what, const std::string& name,
                                const std::string& received);

}  // namespace tandem::binding
