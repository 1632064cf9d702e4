// Products of 16 bits whose numbers end in the middle of 16 bytes, in parts that do not. cuBLASLt's
// fastest kernels read and write whole 16 bytes of what lies side by side; a vocabulary of 50,257
// words would take all of a product to kernels that are several times as slow, where only its last
// word has to.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/host/products.h"

namespace tandem::cuda {

/// A product within another, and where in the operands of that it begins, in elements.
struct ProductPart {
  Product product;
  int64_t a = 0, b = 0, y = 0;
};

/// Multiplications of the smallest product that is worth two.
inline constexpr int64_t kLeastWork = int64_t{1} << 30;

/// `whole` as a product of a multiple of 8 and one of the few numbers beyond, which comes second
/// and may add to what the first has written; `whole` alone where it has less than `least_work`,
/// where that is not what is in the way, or where it has an epilogue. One of its sizes is cut, n
/// before k before m.
std::vector<ProductPart> aligned_parts(const Product& whole, int64_t least_work = kLeastWork);

}  // namespace tandem::cuda
