#include "binding/arrays.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "binding/errors.h"
#include "core/shape.h"

namespace tandem::binding {
namespace {

// What Node-API leaves in place for an element type that it does not know.
constexpr auto kUnknownType = static_cast<napi_typedarray_type>(15);

void copy_uint32(const uint32_t* source, size_t count, int32_t* target, const std::string& name) {
  uint32_t seen = 0;
  for (size_t i = 0; i < count; ++i) {
    seen |= source[i];
    target[i] = static_cast<int32_t>(source[i]);
  }
  if (seen > static_cast<uint32_t>(std::numeric_limits<int32_t>::max())) {
    fail_expected(ErrorCode::kDType, "integers that fit into 32 bits", name, "a larger one");
  }
}

}  // namespace

size_t ArrayView::element_size() const {
  switch (type) {
    case napi_int8_array:
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      return 1;
    case napi_int16_array:
    case napi_uint16_array:
      return 2;
    case napi_float64_array:
    case napi_bigint64_array:
    case napi_biguint64_array:
      return 8;
    default:
      return 4;
  }
}

const char* type_name(napi_typedarray_type type) {
  constexpr const char* kNames[] = {"Int8Array",     "Uint8Array",    "Uint8ClampedArray",
                                    "Int16Array",    "Uint16Array",   "Int32Array",
                                    "Uint32Array",   "Float32Array",  "Float64Array",
                                    "BigInt64Array", "BigUint64Array"};
  const auto index = static_cast<size_t>(type);
  return index < std::size(kNames) ? kNames[index] : "an array of another type";
}

bool try_view_array(napi_env env, napi_value value, ArrayView& view) noexcept {
  view.type = kUnknownType;
  return napi_get_typedarray_info(env, value, &view.type, &view.length, &view.data, nullptr,
                                  nullptr) == napi_ok;
}

void fail_not_array(const std::string& name) {
  fail(ErrorCode::kArgument, "expected a typed array for `" + name + "`");
}

void fail_dtype(const ArrayView& view, DType dtype, const std::string& name) {
  fail_expected(ErrorCode::kDType,
                dtype == DType::kFloat32 ? "a Float32Array" : "an Int32Array or other integers",
                name, type_name(view.type));
}

void fail_length(int64_t expected, size_t received, const std::string& name) {
  fail_expected(ErrorCode::kShape, std::to_string(expected) + " elements", name,
                std::to_string(received));
}

bool converts_to(const ArrayView& view, DType dtype) {
  return dtype == DType::kFloat32
             ? view.type == napi_float32_array
             : static_cast<unsigned>(view.type) <= static_cast<unsigned>(napi_uint32_array);
}

void copy_elements(const ArrayView& view, size_t first, size_t count, DType dtype, void* target,
                   const std::string& name) {
  if (count == 0) return;
  const void* source = static_cast<const std::byte*>(view.data) + first * view.element_size();
  if (is_exactly(view, dtype)) {
    std::memcpy(target, source, count * 4);
    return;
  }
  auto* const integers = static_cast<int32_t*>(target);
  switch (view.type) {
    case napi_int8_array:
      std::copy_n(static_cast<const int8_t*>(source), count, integers);
      return;
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      std::copy_n(static_cast<const uint8_t*>(source), count, integers);
      return;
    case napi_int16_array:
      std::copy_n(static_cast<const int16_t*>(source), count, integers);
      return;
    case napi_uint16_array:
      std::copy_n(static_cast<const uint16_t*>(source), count, integers);
      return;
    case napi_uint32_array:
      return copy_uint32(static_cast<const uint32_t*>(source), count, integers, name);
    default:
      fail_dtype(view, dtype, name);
  }
}

std::vector<napi_value> list_elements(napi_env env, napi_value list, const std::string& name) {
  bool is_array = false;
  uint32_t length = 0;
  check(env, napi_is_array(env, list, &is_array));
  if (!is_array) fail(ErrorCode::kArgument, "expected an array for `" + name + "`");
  check(env, napi_get_array_length(env, list, &length));
  constexpr uint32_t kFew = 16;  // a sparse array's length says nothing
  std::vector<napi_value> elements;
  elements.reserve(std::min(length, kFew));
  for (uint32_t i = 0; i < length; ++i) {
    napi_value element = nullptr;
    check(env, napi_get_element(env, list, i, &element));
    elements.push_back(element);
  }
  return elements;
}

namespace {

napi_value make_array(napi_env env, napi_typedarray_type type, const void* data, size_t length,
                      size_t element_size) {
  void* target = nullptr;
  napi_value buffer = nullptr;
  napi_value array = nullptr;
  check(env, napi_create_arraybuffer(env, length * element_size, &target, &buffer));
  if (length > 0) std::memcpy(target, data, length * element_size);
  check(env, napi_create_typedarray(env, type, length, buffer, 0, &array));
  return array;
}

}  // namespace

napi_value make_array(napi_env env, DType dtype, const void* data, size_t length) {
  return make_array(env, dtype == DType::kFloat32 ? napi_float32_array : napi_int32_array, data,
                    length, 4);
}

napi_value make_array(napi_env env, const double* data, size_t length) {
  return make_array(env, napi_float64_array, data, length, 8);
}

}  // namespace tandem::binding
