// A square of words in registers, transposed.
#pragma once

#include "cpu/isa/words.h"

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

#if defined(TANDEM_ISA_AVX512)

// The squares reach their lanes as they are loaded: that leaves half of the shuffles of a
// transpose between registers.
TANDEM_INLINE void load_transposed(const char* src, int64_t src_row, Lanes r[kLanes]) {
  const auto four = [](const char* p) { return _mm_loadu_ps(reinterpret_cast<const float*>(p)); };
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const char* p = src + i * src_row + 16 * q;
      __m512 v = _mm512_castps128_ps512(four(p));
      v = _mm512_mask_broadcast_f32x4(v, 0x00f0, four(p + 4 * src_row));
      v = _mm512_mask_broadcast_f32x4(v, 0x0f00, four(p + 8 * src_row));
      r[4 * q + i].v = _mm512_mask_broadcast_f32x4(v, 0xf000, four(p + 12 * src_row));
    }
    transpose_squares(r + 4 * q);
  }
}

#endif

TANDEM_INLINE Lanes load_raw(const char* p) { return as_lanes(load_words(p)); }
TANDEM_INLINE Lanes load_raw(const char* p, int n) { return as_lanes(load_words(p, n)); }

#if !defined(TANDEM_ISA_AVX512)
TANDEM_INLINE void load_transposed(const char* src, int64_t src_row, Lanes r[kLanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) r[i] = load_raw(src + i * src_row);
  transpose(r);
}
#endif

}  // namespace tandem::cpu::TANDEM_ISA_NS
