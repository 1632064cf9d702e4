// Kernels of 3 x 3 weights in registers: a lane holds one of them, a register one tap of each.
#pragma once

#include "cpu/isa/transpose_lanes.h"
#include "cpu/isa/winograd_lanes.h"

namespace tandem::cpu::TANDEM_ISA_NS {

inline constexpr int kTaps = 9;
// The rows of the square that turns kernels; taps that it has no room for move one by one.
inline constexpr int kTurnedTaps = kLanes < kTaps ? kLanes : kTaps;

/// Those of the first `count` kernels, which are `step` floats apart; zeros in the other lanes.
TANDEM_INLINE void load_taps(const float* w, int64_t step, int count, Lanes (&taps)[kTaps]) {
  Lanes square[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i)
    square[i] = i < count ? load_lanes(w + i * step, kTurnedTaps) : spread(0.0F);
  transpose(square);
#pragma GCC unroll 9
  for (int t = 0; t < kTurnedTaps; ++t) taps[t] = square[t];
  for (int t = kTurnedTaps; t < kTaps; ++t) {
    float words[kLanes] = {};
    for (int i = 0; i < count; ++i) words[i] = w[i * step + t];
    taps[t] = load_lanes(words);
  }
}

/// The first `count` kernels, one after the other.
TANDEM_INLINE void store_taps(const Lanes (&taps)[kTaps], int count, float* w) {
  Lanes square[kLanes];
#pragma GCC unroll 16
  for (int t = 0; t < kLanes; ++t) square[t] = t < kTurnedTaps ? taps[t] : spread(0.0F);
  transpose(square);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i < count) store_lanes(w + i * kTaps, square[i], kTurnedTaps);
  }
  for (int t = kTurnedTaps; t < kTaps; ++t) {
    float words[kLanes];
    store(words, taps[t]);
    for (int i = 0; i < count; ++i) w[i * kTaps + t] = words[i];
  }
}

/// G g of three numbers.
TANDEM_INLINE void spread_taps(Lanes g0, Lanes g1, Lanes g2, Lanes& y0, Lanes& y1, Lanes& y2,
                               Lanes& y3) {
  const Lanes half = spread(0.5F);
  const Lanes even = half * (g0 + g2), odd = half * g1;
  y0 = g0;
  y1 = even + odd;
  y2 = minus(even, odd);
  y3 = g2;
}

/// G^T y of four numbers.
TANDEM_INLINE void sum_taps(Lanes y0, Lanes y1, Lanes y2, Lanes y3, Lanes& g0, Lanes& g1,
                            Lanes& g2) {
  const Lanes half = spread(0.5F);
  const Lanes sum = half * (y1 + y2);
  g0 = y0 + sum;
  g1 = half * minus(y1, y2);
  g2 = sum + y3;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
