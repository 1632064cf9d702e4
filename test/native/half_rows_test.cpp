// Numbers of 16 bits and floats: to nearest even, and back.
#include "cpu/half_rows.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "core/shape.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;

TEST(half_rows_round_to_nearest_even_and_back) {
  for (const DType dtype : {DType::kBFloat16, DType::kFloat16}) {
    // every number of 16 bits is itself as a float
    std::vector<uint16_t> all(65536);
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
    std::vector<float> floats(all.size());
    std::vector<uint16_t> back(all.size());
    const Tensor whole = make_tensor({256, 256}, dtype);
    const HalfRows rows = half_rows(whole, 0, 1);
    for (int64_t row = 0; row < rows.rows; ++row) {
      void* widen[] = {all.data(), floats.data()};
      widen_rows(&rows, widen, row, {});
      void* narrow[] = {back.data(), floats.data()};
      narrow_rows(&rows, narrow, row, {});
    }
    for (size_t i = 0; i < all.size(); ++i)
      CHECK(std::isnan(floats[i]) ? std::isnan(floats[i]) && (back[i] & 0x7fff) > 0x7c00
                                  : back[i] == all[i]);
    // and others become the nearest, by two rows of 3 with padding
    const int bits = dtype == DType::kBFloat16 ? 8 : 11;
    Tensor padded = make_tensor({2, 3}, dtype);
    padded.padding = 5;
    CHECK(byte_size(padded) == 2 * 8 * 2);
    const HalfRows few = half_rows(padded, 0, 1);
    for (const float scale : {1.0F, 0x1p-20F, 1000.0F}) {
      std::vector<float> x = random_floats(6, 7, -scale, scale);
      x[1] = 1.0F + 0x1p-8F;  // a tie
      std::vector<uint16_t> y(16 + 1, 0xabcd);
      void* operands[] = {y.data(), x.data()};
      for (int64_t row = 0; row < 2; ++row) narrow_rows(&few, operands, row, {});
      CHECK(y[16] == 0xabcd);
      std::vector<float> again(6);
      void* widened[] = {y.data(), again.data()};
      for (int64_t row = 0; row < 2; ++row) widen_rows(&few, widened, row, {});
      for (size_t i = 0; i < 6; ++i) {
        int exponent = 0;
        (void)std::frexp(x[i], &exponent);
        if (dtype == DType::kFloat16) exponent = std::max(exponent, -13);
        const double step = std::ldexp(1.0, exponent - bits);
        CHECK(static_cast<double>(again[i]) ==
              std::nearbyint(static_cast<double>(x[i]) / step) * step);
      }
      for (const size_t i : std::vector<size_t>{3, 4, 5, 6, 7, 11, 15}) CHECK(y[i] == 0);
    }
  }
}
