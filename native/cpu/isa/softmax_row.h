// What softmax and the cross-entropy of one contiguous row share: its maximum, and the exponentials
// with their sum. Rows that fit one vector take one pass through each function's tail.
#pragma once

#include "cpu/isa/math.h"
#include "cpu/isa/vec.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// Float additions in a row before a sum goes on in double.
inline constexpr int64_t kRowBlock = 64 * kWidth;

TANDEM_INLINE float row_max(const float* x, int64_t n) {
  Vec a = set1(-__builtin_huge_valf());
  Vec b = a;
  int64_t i = 0;
  for (; i + 2 * kWidth <= n; i += 2 * kWidth) {
    a = max_(a, load(x + i));
    b = max_(b, load(x + i + kWidth));
  }
  for (; i < n; i += kWidth) a = max_(a, keep_first(load_partial(x + i, n - i), n - i, b));
  return reduce_max(max_(a, b));
}

/// The sum of exp(x - shift); with `keep` the exponentials go to `y`, which may be x.
template <bool keep>
TANDEM_INLINE double row_exp(const float* x, float* y, int64_t n, float shift) {
  const Vec s = set1(shift);
  double total = 0.0;
  for (int64_t i = 0; i < n;) {
    const int64_t end = i + kRowBlock < n ? i + kRowBlock : n;
    Vec a = zero();
    Vec b = zero();
    for (; i + 2 * kWidth <= end; i += 2 * kWidth) {
      const Vec ea = exp_(load(x + i) - s);
      const Vec eb = exp_(load(x + i + kWidth) - s);
      if (keep) {
        store(y + i, ea);
        store(y + i + kWidth, eb);
      }
      a += ea;
      b += eb;
    }
    for (; i < end; i += kWidth) {
      const int64_t m = end - i;
      const Vec e = exp_(load_partial(x + i, m) - s);
      if (keep) store_partial(y + i, e, m);
      a += keep_first(e, m, zero());
    }
    total += static_cast<double>(reduce_add(a + b));
  }
  return total;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
