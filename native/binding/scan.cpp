// Looking for values that training must not see. Blocks are tested without branches, which
// compilers vectorise; only a block that has one is searched.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "binding/arrays.h"
#include "binding/functions.h"
#include "binding/values.h"

namespace tandem::binding {
namespace {

template <typename T, typename Bad>
int64_t find_first(const T* values, size_t length, const Bad& bad) {
  constexpr size_t kBlock = 512;
  for (size_t begin = 0; begin < length; begin += kBlock) {
    const size_t end = std::min(begin + kBlock, length);
    unsigned any = 0;
    for (size_t i = begin; i < end; ++i) any |= static_cast<unsigned>(bad(values[i]));
    if (any == 0) continue;
    for (size_t i = begin; i < end; ++i) {
      if (bad(values[i])) return static_cast<int64_t>(i);
    }
  }
  return -1;
}

struct Bounds {
  double low;
  double high;
  double ignored;
};

template <typename T>
int64_t outside(const ArrayView& view, const Bounds& bounds) {
  const T* const values = static_cast<const T*>(view.data);
  if constexpr (std::is_floating_point_v<T>) {
    return find_first(values, view.length, [bounds](T value) {
      const auto v = static_cast<double>(value);
      const bool inside = (v >= bounds.low) & (v < bounds.high) & (v == std::trunc(v));
      return !(inside | (v == bounds.ignored));
    });
  } else {
    // The bounds as inclusive ones of T, so that the comparison is T's own.
    using Limits = std::numeric_limits<T>;
    const double low = std::max(std::ceil(bounds.low), static_cast<double>(Limits::min()));
    const double high = std::min(std::ceil(bounds.high) - 1, static_cast<double>(Limits::max()));
    const bool can_ignore = bounds.ignored >= static_cast<double>(Limits::min()) &&
                            bounds.ignored <= static_cast<double>(Limits::max()) &&
                            bounds.ignored == std::trunc(bounds.ignored);
    const T ignored = can_ignore ? static_cast<T>(bounds.ignored) : T{};
    if (!(low <= high)) {
      return find_first(values, view.length,
                        [=](T value) { return !(can_ignore & (value == ignored)); });
    }
    const T first = static_cast<T>(low);
    const T last = static_cast<T>(high);
    return find_first(values, view.length, [=](T value) {
      return ((value < first) | (value > last)) & !(can_ignore & (value == ignored));
    });
  }
}

}  // namespace

napi_value find_outside(const Call& call) {
  const napi_env env = call.env();
  const Bounds bounds{read_number({env, call[1]}, "low"), read_number({env, call[2]}, "high"),
                      read_number({env, call[3]}, "ignored")};
  const ArrayView view = view_array(env, call[0], [] { return "values"; });
  int64_t found = -1;
  switch (view.type) {
    case napi_int8_array:
      found = outside<int8_t>(view, bounds);
      break;
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      found = outside<uint8_t>(view, bounds);
      break;
    case napi_int16_array:
      found = outside<int16_t>(view, bounds);
      break;
    case napi_uint16_array:
      found = outside<uint16_t>(view, bounds);
      break;
    case napi_int32_array:
      found = outside<int32_t>(view, bounds);
      break;
    case napi_uint32_array:
      found = outside<uint32_t>(view, bounds);
      break;
    case napi_float32_array:
      found = outside<float>(view, bounds);
      break;
    case napi_float64_array:
      found = outside<double>(view, bounds);
      break;
    default:
      fail_expected(ErrorCode::kDType, "numbers", "values", type_name(view.type));
  }
  return Napi::Number::New(env, static_cast<double>(found));
}

napi_value find_non_finite(const Call& call) {
  const napi_env env = call.env();
  const ArrayView view = view_array(env, call[0], [] { return "values"; });
  if (!is_exactly(view, DType::kFloat32)) fail_dtype(view, DType::kFloat32, "values");
  const int64_t found =
      find_first(static_cast<const float*>(view.data), view.length, [](float value) {
        uint32_t bits = 0;
        std::memcpy(&bits, &value, sizeof bits);
        return (bits & 0x7f800000U) == 0x7f800000U;
      });
  return Napi::Number::New(env, static_cast<double>(found));
}

}  // namespace tandem::binding
