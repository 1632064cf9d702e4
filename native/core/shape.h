// Shapes with checked arithmetic. Sizes come from users and from files, so every product is
// checked.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/tensor.h"

namespace tandem {

using Shape = std::vector<int64_t>;

int64_t checked_add(int64_t a, int64_t b);
int64_t checked_mul(int64_t a, int64_t b);

/// Checks rank, signs and the number of elements. Throws ERR_SHAPE.
Tensor make_tensor(const Shape& shape, DType dtype);
Shape shape_of(const Tensor& tensor);
bool same_shape(const Tensor& a, const Tensor& b) noexcept;
/// Bytes of the tensor's elements, and of its padding.
int64_t byte_size(const Tensor& tensor);
int64_t element_size(DType dtype) noexcept;
/// Whether numbers have 16 bits.
bool is_half(DType dtype) noexcept;
const char* name(DType dtype) noexcept;
/// "[2, 3]"
std::string to_string(const Shape& shape);
std::string to_string(const Tensor& tensor);

/// The shape that both broadcast to, as NumPy does; none if they do not.
std::optional<Shape> broadcast_shapes(const Shape& a, const Shape& b);
IntList make_list(std::initializer_list<int64_t> values);
IntList make_list(const Shape& values);
Shape to_shape(const IntList& list);

}  // namespace tandem
