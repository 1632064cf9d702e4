// Convolutions that tests of several ops compute, product by product.
#pragma once

#include <cstdint>
#include <vector>

#include "core/ops/conv.h"
#include "node_runner.h"

namespace tandem::cpu {

/// A convolution of planes, and the shapes of what it reads and writes.
struct ConvCase {
  int64_t batch, groups, in, out;  // channels of a group
  IntPair x, kernel;
  IntPair stride{1, 1}, padding{0, 0}, dilation{1, 1};
  bool bf16 = false;

  [[nodiscard]] static int64_t size(int64_t n, int64_t k, int64_t s, int64_t p, int64_t d) {
    return (n + 2 * p - d * (k - 1) - 1) / s + 1;
  }
  [[nodiscard]] IntPair y() const {
    return {size(x.height, kernel.height, stride.height, padding.height, dilation.height),
            size(x.width, kernel.width, stride.width, padding.width, dilation.width)};
  }
  [[nodiscard]] std::vector<int64_t> x_dims() const {
    return {batch, groups * in, x.height, x.width};
  }
  [[nodiscard]] std::vector<int64_t> y_dims() const {
    return {batch, groups * out, y().height, y().width};
  }
  [[nodiscard]] std::vector<int64_t> w_dims() const {
    return {groups * out, in, kernel.height, kernel.width};
  }
  [[nodiscard]] ops::ConvAttributes attributes() const {
    return {stride, padding, dilation, {0, 0}, groups, bf16};
  }
};

/// Calls visit(x, w, y) with the positions of every product.
template <typename Visit>
void each_product(const ConvCase& c, Visit visit) {
  const IntPair y = c.y();
  for (int64_t n = 0; n < c.batch; ++n)
    for (int64_t o = 0; o < c.groups * c.out; ++o)
      for (int64_t i = 0; i < c.in; ++i)
        for (int64_t kr = 0; kr < c.kernel.height; ++kr)
          for (int64_t kc = 0; kc < c.kernel.width; ++kc)
            for (int64_t r = 0; r < y.height; ++r) {
              const int64_t row = r * c.stride.height - c.padding.height + kr * c.dilation.height;
              if (row < 0 || row >= c.x.height) continue;
              for (int64_t q = 0; q < y.width; ++q) {
                const int64_t column = q * c.stride.width - c.padding.width + kc * c.dilation.width;
                if (column < 0 || column >= c.x.width) continue;
                const int64_t channel = n * c.groups * c.in + o / c.out * c.in + i;
                visit(
                    static_cast<size_t>((channel * c.x.height + row) * c.x.width + column),
                    static_cast<size_t>(((o * c.in + i) * c.kernel.height + kr) * c.kernel.width +
                                        kc),
                    static_cast<size_t>(((n * c.groups * c.out + o) * y.height + r) * y.width + q));
              }
            }
}

/// Values that bfloat16 has, so that rounding an operand changes nothing.
inline std::vector<float> coarse_floats(int64_t n, uint32_t seed) {
  std::vector<float> all = random_floats(n, seed);
  for (float& x : all) x = static_cast<float>(rounded(x));
  return all;
}

}  // namespace tandem::cpu
