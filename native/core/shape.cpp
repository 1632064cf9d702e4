#include "core/shape.h"

#include <algorithm>
#include <limits>

#include "core/limit_error.h"

namespace tandem {

// Sizes in bytes must fit too, so elements stop at 2^59.
constexpr int64_t kMaxElements = int64_t{1} << 59;

namespace {

[[noreturn]] void overflow() { throw LimitError("sizes below 2^59", "an overflow"); }

}  // namespace

int64_t checked_add(int64_t a, int64_t b) {
  if (a > kMaxElements - b) overflow();
  return a + b;
}

int64_t checked_mul(int64_t a, int64_t b) {
  if (b != 0 && a > kMaxElements / b) overflow();
  return a * b;
}

Tensor make_tensor(const Shape& shape, DType dtype) {
  if (shape.size() > kMaxRank) {
    throw LimitError("at most 8 dimensions", to_string(shape));
  }
  Tensor tensor{};
  tensor.dtype = dtype;
  tensor.rank = static_cast<int32_t>(shape.size());
  tensor.numel = 1;
  // Of all but the empty axes: strides and parts of a shape are products that have to fit, too.
  int64_t extent = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 0) {
      fail(ErrorCode::kShape, "expected dimensions of 0 or more, received " + to_string(shape));
    }
    tensor.dims[i] = shape[i];
    extent = checked_mul(extent, std::max<int64_t>(shape[i], 1));
    tensor.numel *= shape[i];
  }
  return tensor;
}

Shape shape_of(const Tensor& tensor) { return {tensor.dims, tensor.dims + tensor.rank}; }

bool same_shape(const Tensor& a, const Tensor& b) noexcept {
  return a.rank == b.rank && std::equal(a.dims, a.dims + a.rank, b.dims);
}

bool is_half(DType dtype) noexcept { return dtype == DType::kBFloat16 || dtype == DType::kFloat16; }

int64_t element_size(DType dtype) noexcept {
  if (is_half(dtype)) return 2;
  return dtype == DType::kUInt8 ? 1 : 4;
}

int64_t byte_size(const Tensor& tensor) {
  int64_t count = tensor.numel;
  if (tensor.padding > 0 && count > 0)
    count = checked_add(count, count / tensor.dims[tensor.rank - 1] * tensor.padding);
  return checked_mul(count, element_size(tensor.dtype));
}

const char* name(DType dtype) noexcept {
  switch (dtype) {
    case DType::kFloat32:
      return "float32";
    case DType::kInt32:
      return "int32";
    case DType::kUInt8:
      return "uint8";
    case DType::kBFloat16:
      return "bfloat16";
    case DType::kFloat16:
      break;
  }
  return "float16";
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

std::string to_string(const Tensor& tensor) { return to_string(shape_of(tensor)); }

std::optional<Shape> broadcast_shapes(const Shape& a, const Shape& b) {
  const size_t rank = std::max(a.size(), b.size());
  Shape out(rank);
  for (size_t i = 0; i < rank; ++i) {
    const int64_t da = i + a.size() < rank ? 1 : a[i + a.size() - rank];
    const int64_t db = i + b.size() < rank ? 1 : b[i + b.size() - rank];
    if (da != db && da != 1 && db != 1) return std::nullopt;
    out[i] = da == 1 ? db : da;
  }
  return out;
}

IntList make_list(const Shape& values) {
  if (values.size() > kMaxRank) {
    fail(ErrorCode::kShape, "expected at most 8 dimensions, received " + to_string(values));
  }
  IntList list{};
  for (const int64_t value : values) list.values[list.count++] = value;
  return list;
}

IntList make_list(std::initializer_list<int64_t> values) { return make_list(Shape(values)); }

Shape to_shape(const IntList& list) { return {list.values, list.values + list.count}; }

}  // namespace tandem
