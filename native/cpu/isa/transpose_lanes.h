// A square of words in registers, transposed.
#pragma once

#include "cpu/isa/lanes.h"

namespace tandem::cpu::TANDEM_ISA_NS {

#if defined(TANDEM_ISA_AVX512)

// Four rows of four 4 x 4 squares, each transposed in its lane.
TANDEM_INLINE void transpose_squares(Lanes* r) {
  const __m512 a = _mm512_unpacklo_ps(r[0].v, r[1].v);
  const __m512 b = _mm512_unpackhi_ps(r[0].v, r[1].v);
  const __m512 c = _mm512_unpacklo_ps(r[2].v, r[3].v);
  const __m512 d = _mm512_unpackhi_ps(r[2].v, r[3].v);
  r[0].v = _mm512_shuffle_ps(a, c, 0x44);
  r[1].v = _mm512_shuffle_ps(a, c, 0xee);
  r[2].v = _mm512_shuffle_ps(b, d, 0x44);
  r[3].v = _mm512_shuffle_ps(b, d, 0xee);
}

// r[i] holds row i before and column i after.
TANDEM_INLINE void transpose(Lanes r[kLanes]) {
  __m512 t[kLanes];
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; i += 4) transpose_squares(r + i);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_f32x4(r[i].v, r[i + 4].v, 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(r[i].v, r[i + 4].v, 0xdd);
    t[i + 8] = _mm512_shuffle_f32x4(r[i + 8].v, r[i + 12].v, 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(r[i + 8].v, r[i + 12].v, 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i].v = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
    r[i + 8].v = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    r[i + 4].v = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12].v = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

#elif defined(TANDEM_ISA_AVX2)

TANDEM_INLINE void transpose(Lanes r[kLanes]) {
  __m256 t[kLanes];
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm256_unpackhi_ps(r[i].v, r[i + 1].v);
  }
#pragma GCC unroll 2
  for (int i = 0; i < kLanes; i += 4) {
    r[i].v = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1].v = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2].v = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3].v = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm256_permute2f128_ps(r[i].v, r[i + 4].v, 0x20);
    t[i + 4] = _mm256_permute2f128_ps(r[i].v, r[i + 4].v, 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kLanes; ++i) r[i].v = t[i];
}

#else

TANDEM_INLINE void transpose(Lanes r[kLanes]) {
  for (int i = 0; i < kLanes; ++i)
    for (int j = 0; j < i; ++j) {
      const float x = r[i].lane[j];
      r[i].lane[j] = r[j].lane[i];
      r[j].lane[i] = x;
    }
}

#endif

}  // namespace tandem::cpu::TANDEM_ISA_NS
