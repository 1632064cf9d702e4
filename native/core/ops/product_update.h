// productUpdate: the gradient of a parameter, a product of two matrices, and the optimizer's update
// with it, tile by tile, so that the gradient as a whole exists nowhere. The pass that adds the
// optimizer makes it.
//   inputs: a, b: matrices; the parameter, [rows * columns]; optimizer state [slots * rows *
//   columns] (left out without slots); room for sums of squares of the gradient [rows], which are
//   distributed over it in no particular way.
#pragma once

#include <array>

#include "core/ops/optimizer.h"

namespace tandem::ops {

struct ProductUpdate : OptimizerBase {
  static constexpr int kMinInputs = 5;
  static constexpr int kMaxInputs = 5;
  static constexpr uint32_t kWrites = 4 | 8 | 16;
  /// Rows of the gradient that are longer than this would not stay in a cache until they are used.
  static constexpr int64_t kMaxColumns = 8192;

  struct Attributes {
    bool trans_a = false;
    bool trans_b = false;
    int32_t optimizer = 0;  ///< an Op
    alignas(8) std::array<std::byte, 64> optimizer_attributes{};
    bool bf16 = false;  ///< see core/precision.h
  };
};

static_assert(sizeof(Sgd::Attributes) <= 64 && sizeof(Adam::Attributes) <= 64);
static_assert(sizeof(RmsProp::Attributes) <= 64 && sizeof(Adagrad::Attributes) <= 64);
static_assert(sizeof(Lion::Attributes) <= 64);

}  // namespace tandem::ops
