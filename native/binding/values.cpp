#include "binding/values.h"

#include <cmath>
#include <cstdio>
#include <limits>

#include "binding/arrays.h"
#include "binding/errors.h"

namespace tandem::binding {
namespace {

[[noreturn]] void fail_value(const std::string& what, const std::string& name, Napi::Value value) {
  fail_expected(ErrorCode::kArgument, what, name, describe_value(value));
}

std::string text_of(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", number);
  return text;
}

}  // namespace

std::string describe_value(Napi::Value value) {
  switch (value.Type()) {
    case napi_undefined:
      return "undefined";
    case napi_null:
      return "null";
    case napi_boolean:
      return value.As<Napi::Boolean>().Value() ? "true" : "false";
    case napi_number:
      return text_of(value.As<Napi::Number>().DoubleValue());
    case napi_string:
      return "a string";
    case napi_function:
      return "a function";
    default:
      return value.IsArray() ? "an array" : "an object or another value";
  }
}

Napi::Object read_object(Napi::Value value, const std::string& name) {
  if (value.Type() != napi_object) fail_value("an object", name, value);
  return value.As<Napi::Object>();
}

double read_number(Napi::Value value, const std::string& name) {
  if (!value.IsNumber()) fail_value("a number", name, value);
  return value.As<Napi::Number>().DoubleValue();
}

double read_finite(Napi::Value value, const std::string& name) {
  const double number = read_number(value, name);
  if (!std::isfinite(number)) fail_value("a finite number", name, value);
  return number;
}

int64_t read_integer(Napi::Value value, const std::string& name, double low, double high) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue()
                                         : std::numeric_limits<double>::quiet_NaN();
  if (!(number >= low && number <= high) || number != std::trunc(number)) {
    fail_value("an integer of " + text_of(low) +
                   (high < kMaxSafeInteger ? " to " + text_of(high) : " or more"),
               name, value);
  }
  return static_cast<int64_t>(number);
}

bool read_boolean(Napi::Value value, const std::string& name) {
  if (!value.IsBoolean()) fail_value("true or false", name, value);
  return value.As<Napi::Boolean>().Value();
}

std::string read_string(Napi::Value value, const std::string& name) {
  if (!value.IsString()) fail_value("a string", name, value);
  return value.As<Napi::String>().Utf8Value();
}

std::vector<int64_t> read_integers(Napi::Value value, const std::string& name, double low) {
  std::vector<int64_t> integers;
  for (napi_value element : list_elements(value.Env(), value, name)) {
    integers.push_back(read_integer({value.Env(), element}, name, low));
  }
  return integers;
}

int64_t read_rows(napi_env env, napi_value value, const char* name) {
  double number = -1;
  if (napi_get_value_double(env, value, &number) != napi_ok || !(number >= 0) ||
      number > kMaxSafeInteger || number != std::trunc(number)) {
    return read_integer({env, value}, name, 1);  // throws
  }
  if (number == 0) fail_expected(ErrorCode::kShape, "1 row or more", name, "0");
  return static_cast<int64_t>(number);
}

DType read_dtype(Napi::Value value, const std::string& name) {
  const std::string text = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  if (text == "float32") return DType::kFloat32;
  if (text == "int32") return DType::kInt32;
  fail_expected(ErrorCode::kDType, "'float32' or 'int32'", name,
                text.empty() ? describe_value(value) : "'" + text + "'");
}

Napi::Array make_list(napi_env env, const Tensor& shape) {
  Napi::Array list = Napi::Array::New(env, static_cast<size_t>(shape.rank));
  for (int32_t i = 0; i < shape.rank; ++i) {
    list.Set(static_cast<uint32_t>(i), Napi::Number::New(env, static_cast<double>(shape.dims[i])));
  }
  return list;
}

Napi::Array make_specs(napi_env env, const std::vector<Tensor>& tensors) {
  Napi::Array list = Napi::Array::New(env, tensors.size());
  for (uint32_t i = 0; i < tensors.size(); ++i) {
    Napi::Object spec = Napi::Object::New(env);
    spec.Set("shape", make_list(env, tensors[i]));
    spec.Set("dtype", tandem::name(tensors[i].dtype));
    list.Set(i, spec);
  }
  return list;
}

}  // namespace tandem::binding
