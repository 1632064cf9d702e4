#include "binding/errors.h"

#include <new>
#include <stdexcept>
#include <system_error>

#include "binding/addon.h"

namespace tandem::binding {
namespace {

// Short enough to need no memory of its own.
constexpr const char* kOutOfMemory = "out of memory";

/// What JavaScript threw, or null. Node-API calls refuse to work while an exception is pending.
napi_value take_pending(napi_env env) {
  bool pending = false;
  napi_value thrown = nullptr;
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending) {
    napi_get_and_clear_last_exception(env, &thrown);
  }
  return thrown;
}

std::string text_of(napi_env env, napi_value value) {
  napi_value text = nullptr;
  size_t length = 0;
  if (napi_get_named_property(env, value, "message", &text) != napi_ok ||
      napi_get_value_string_utf8(env, text, nullptr, 0, &length) != napi_ok) {
    take_pending(env);
    return "no message";
  }
  std::string result(length, '\0');
  napi_get_value_string_utf8(env, text, result.data(), length + 1, &length);
  return result;
}

napi_value make_string(napi_env env, const char* text, size_t length) {
  napi_value value = nullptr;
  napi_create_string_utf8(env, text, length, &value);
  return value;
}

napi_value make_cause_error(napi_env env, Addon& addon, napi_value cause) {
  napi_value error = make_error(
      env, addon, {ErrorCode::kArgument, "reading the arguments: " + text_of(env, cause)});
  if (error != nullptr && napi_set_named_property(env, error, "cause", cause) != napi_ok) {
    take_pending(env);
  }
  return error;
}

}  // namespace

Failure current_failure() noexcept {
  try {
    try {
      throw;
    } catch (const Error& error) {
      return {error.code(), error.message()};
    } catch (const std::length_error&) {
      return {ErrorCode::kOutOfMemory, kOutOfMemory};
    } catch (const std::system_error& error) {
      return {ErrorCode::kOutOfMemory, std::string("out of system resources: ") + error.what()};
    } catch (const std::bad_alloc&) {
      return {ErrorCode::kOutOfMemory, kOutOfMemory};
    } catch (const std::exception& error) {
      return {ErrorCode::kArgument, std::string("unexpected: ") + error.what()};
    } catch (...) {
      return {ErrorCode::kArgument, "unexpected"};
    }
  } catch (...) {
    return {ErrorCode::kOutOfMemory, kOutOfMemory};
  }
}

napi_value make_error(napi_env env, Addon& addon, const Failure& failure) noexcept {
  const std::string_view code_name = name(failure.code);
  const napi_value arguments[] = {make_string(env, code_name.data(), code_name.size()),
                                  make_string(env, failure.message.data(), failure.message.size())};
  napi_value error = nullptr;
  napi_value error_class = addon.error_class().value();
  if (error_class == nullptr) {
    napi_create_error(env, arguments[0], arguments[1], &error);
  } else if (napi_new_instance(env, error_class, 2, arguments, &error) != napi_ok) {
    // The class's constructor threw: that is what the caller gets to see.
    error = take_pending(env);
  }
  return error;
}

napi_value make_current_error(napi_env env, Addon& addon) noexcept {
  try {
    try {
      throw;
    } catch (const Napi::Error& error) {
      return make_cause_error(env, addon, error.Value());
    } catch (const NodeApiFailure& failure) {
      if (napi_value cause = take_pending(env)) return make_cause_error(env, addon, cause);
      return make_error(env, addon, {ErrorCode::kArgument, failure.reason});
    }
  } catch (...) {
    return make_error(env, addon, current_failure());
  }
}

void check(napi_env env, napi_status status) {
  if (status == napi_ok) return;
  const napi_extended_error_info* info = nullptr;
  const bool told =
      napi_get_last_error_info(env, &info) == napi_ok && info->error_message != nullptr;
  throw NodeApiFailure{told ? info->error_message : "a call of Node-API failed"};
}

void fail_expected(ErrorCode code, const std::string& what, const std::string& name,
                   const std::string& received) {
  fail(code, "expected " + what + " for `" + name + "`, received " + received);
}

}  // namespace tandem::binding
