// Reading plain values of JavaScript, each checked: "expected X for `name`, received Y".
#pragma once

#include <napi.h>

#include <string>
#include <vector>

#include "core/shape.h"

namespace tandem::binding {

inline constexpr double kMaxSafeInteger = 9007199254740991.0;

/// What a message says of a wrong value: "undefined", "-1.5", "a string".
std::string describe_value(Napi::Value value);

Napi::Object read_object(Napi::Value value, const std::string& name);
double read_number(Napi::Value value, const std::string& name);
double read_finite(Napi::Value value, const std::string& name);
int64_t read_integer(Napi::Value value, const std::string& name, double low,
                     double high = kMaxSafeInteger);
bool read_boolean(Napi::Value value, const std::string& name);
std::string read_string(Napi::Value value, const std::string& name);
std::vector<int64_t> read_integers(Napi::Value value, const std::string& name, double low);
/// A number of rows: an integer, 0 gives ERR_SHAPE.
int64_t read_rows(napi_env env, napi_value value, const char* name);
DType read_dtype(Napi::Value value, const std::string& name);

Napi::Array make_list(napi_env env, const Tensor& shape);

/// A list of TensorSpec.
Napi::Array make_specs(napi_env env, const std::vector<Tensor>& tensors);

}  // namespace tandem::binding
