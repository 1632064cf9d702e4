// The transforms of winograd.h in registers: whatever lanes are, tiles or channels.
#pragma once

#include "cpu/isa/lanes.h"

namespace tandem::cpu::TANDEM_ISA_NS {

#if defined(TANDEM_ISA_SCALAR)
TANDEM_INLINE Lanes minus(Lanes a, Lanes b) {
  for (int i = 0; i < kLanes; ++i) a.lane[i] -= b.lane[i];
  return a;
}
/// NaN where either operand is.
TANDEM_INLINE Lanes largest(Lanes a, Lanes b) {
  for (int i = 0; i < kLanes; ++i) {
    const bool first = a.lane[i] > b.lane[i] || a.lane[i] != a.lane[i];
    b.lane[i] = first ? a.lane[i] : b.lane[i];
  }
  return b;
}
#else
TANDEM_INLINE Lanes minus(Lanes a, Lanes b) { return a - b; }
/// NaN where either operand is.
TANDEM_INLINE Lanes largest(Lanes a, Lanes b) { return max_(a, b); }
#endif

/// B^T d of four numbers.
TANDEM_INLINE void spread_pixels(Lanes& d0, Lanes& d1, Lanes& d2, Lanes& d3) {
  const Lanes a = minus(d0, d2), b = d1 + d2, c = minus(d2, d1);
  d3 = minus(d1, d3);
  d0 = a;
  d1 = b;
  d2 = c;
}

/// A^T m of four numbers.
TANDEM_INLINE void sum_pixels(Lanes m0, Lanes m1, Lanes m2, Lanes m3, Lanes& y0, Lanes& y1) {
  y0 = m0 + m1 + m2;
  y1 = minus(minus(m1, m2), m3);
}

/// The 2 x 2 pixels of tiles whose 16 numbers lie `step` floats apart.
TANDEM_INLINE void pixels_of(const float* from, int64_t step, Lanes (&y)[4]) {
  Lanes top[4], bottom[4];
#pragma GCC unroll 4
  for (int64_t j = 0; j < 4; ++j) {
    sum_pixels(load_lanes(from + j * step), load_lanes(from + (4 + j) * step),
               load_lanes(from + (8 + j) * step), load_lanes(from + (12 + j) * step), top[j],
               bottom[j]);
  }
  sum_pixels(top[0], top[1], top[2], top[3], y[0], y[1]);
  sum_pixels(bottom[0], bottom[1], bottom[2], bottom[3], y[2], y[3]);
}

/// The largest of four.
TANDEM_INLINE Lanes largest_of(const Lanes (&y)[4]) {
  return largest(largest(y[0], y[1]), largest(y[2], y[3]));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
