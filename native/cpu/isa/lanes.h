// What a matrix product keeps in one register: the vector of this instruction set, or four floats
// in plain C++ where that vector has one lane; compilers map them to whatever the baseline has.
// Everything here is static and in the namespace of the instruction set, as in vec.h.
#pragma once

#include "cpu/isa/vec.h"

namespace tandem::cpu::TANDEM_ISA_NS {

#if defined(TANDEM_ISA_SCALAR)

inline constexpr int kLanes = 4;
struct Lanes {
  float lane[kLanes];
};

TANDEM_INLINE Lanes spread(float x) { return {{x, x, x, x}}; }
TANDEM_INLINE Lanes load_lanes(const float* p) { return {{p[0], p[1], p[2], p[3]}}; }
/// The first `n` lanes, 0 <= n <= kLanes; the others are zero.
TANDEM_INLINE Lanes load_lanes(const float* p, int n) {
  Lanes x = spread(0.0F);
  for (int i = 0; i < n; ++i) x.lane[i] = p[i];
  return x;
}
TANDEM_INLINE void store_lanes(float* p, Lanes x, int n) {
  for (int i = 0; i < n; ++i) p[i] = x.lane[i];
}
TANDEM_INLINE void store(float* p, Lanes x) { store_lanes(p, x, kLanes); }
TANDEM_INLINE Lanes operator+(Lanes a, Lanes b) {
  for (int i = 0; i < kLanes; ++i) a.lane[i] += b.lane[i];
  return a;
}
TANDEM_INLINE Lanes fma(Lanes a, Lanes b, Lanes c) {
  for (int i = 0; i < kLanes; ++i) c.lane[i] += a.lane[i] * b.lane[i];
  return c;
}
// `b` where either operand is NaN.
TANDEM_INLINE Lanes greater_of(Lanes a, Lanes b) {
  for (int i = 0; i < kLanes; ++i) b.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i];
  return b;
}

#else

inline constexpr int kLanes = kWidth;
using Lanes = Vec;

TANDEM_INLINE Lanes spread(float x) { return set1(x); }
TANDEM_INLINE Lanes load_lanes(const float* p) { return load(p); }
TANDEM_INLINE Lanes load_lanes(const float* p, int n) { return load_masked(p, first_few(n)); }
TANDEM_INLINE void store_lanes(float* p, Lanes x, int n) { store_masked(p, x, first_few(n)); }

#endif

}  // namespace tandem::cpu::TANDEM_ISA_NS
