// Typed arrays. Pointers into them are valid until JavaScript runs again: read every property and
// element of the arguments first, look at the memory last.
#pragma once

#include <napi.h>

#include <string>
#include <vector>

#include "binding/leases.h"
#include "core/tensor.h"

namespace tandem::binding {

struct ArrayView {
  void* data = nullptr;
  size_t length = 0;  ///< in elements; 0 when detached
  napi_typedarray_type type = napi_int8_array;

  [[nodiscard]] size_t element_size() const;
  [[nodiscard]] ByteRange bytes() const {
    const auto* begin = static_cast<const std::byte*>(data);
    return {begin, begin + length * element_size()};
  }
};

/// "Float32Array"
const char* type_name(napi_typedarray_type type);

/// Throws ERR_ARGUMENT when `value` is no typed array; `name` is made only then.
template <typename Name>
ArrayView view_array(napi_env env, napi_value value, const Name& name);
bool try_view_array(napi_env env, napi_value value, ArrayView& view) noexcept;

/// ERR_ARGUMENT and ERR_DTYPE, as said above each.
[[noreturn]] void fail_not_array(const std::string& name);
[[noreturn]] void fail_dtype(const ArrayView& view, DType dtype, const std::string& name);
[[noreturn]] void fail_length(int64_t expected, size_t received, const std::string& name);

inline bool is_exactly(const ArrayView& view, DType dtype) {
  return view.type == (dtype == DType::kFloat32 ? napi_float32_array : napi_int32_array);
}
/// Whether elements of `view` can become `dtype`: a float input takes floats, an integer input any
/// integers.
bool converts_to(const ArrayView& view, DType dtype);

/// Copies `count` elements from `first` on as `dtype` to `target`. Throws ERR_DTYPE for a number
/// that int32 cannot hold. Needs converts_to().
void copy_elements(const ArrayView& view, size_t first, size_t count, DType dtype, void* target,
                   const std::string& name);

/// The elements of a JavaScript array; throws ERR_ARGUMENT when it is none.
std::vector<napi_value> list_elements(napi_env env, napi_value list, const std::string& name);

/// A new Float32Array or Int32Array of these elements.
napi_value make_array(napi_env env, DType dtype, const void* data, size_t length);
napi_value make_array(napi_env env, const double* data, size_t length);

template <typename Name>
ArrayView view_array(napi_env env, napi_value value, const Name& name) {
  ArrayView view;
  if (!try_view_array(env, value, view)) fail_not_array(name());
  return view;
}

}  // namespace tandem::binding
