// One vector of the instruction set that the including file is compiled for, and the sizes of
// the matrix product that follow from it. Everything lies in the namespace of the instruction
// set: no symbol is shared between builds.
#pragma once

#include <cstdint>

#if defined(TANDEM_ISA_AVX512) || defined(TANDEM_ISA_AVX2)
#include <immintrin.h>
#endif

#define TANDEM_INLINE static inline __attribute__((always_inline))

namespace tandem::cpu::TANDEM_ISA_NS {

#if defined(TANDEM_ISA_AVX512)

// 14 x 2 accumulators, two vectors of B and one of A leave one register of 32 free.
constexpr int W = 16, MR = 14, WIDE4_ROWS = 6, WIDE8_ROWS = 2;
typedef __m512 Vec;

// GCC 12 takes the undefined operand inside some plain intrinsics for a mistake of ours and warns.
// Their zero-masked forms with all lanes on compile to the same instructions without it.
constexpr __mmask16 ALL = 0xffff;

TANDEM_INLINE __mmask16 lanes(int count) { return static_cast<__mmask16>((1u << count) - 1u); }
TANDEM_INLINE Vec vzero() { return _mm512_setzero_ps(); }
TANDEM_INLINE Vec vset(float x) { return _mm512_set1_ps(x); }
TANDEM_INLINE Vec vload(const float* p) { return _mm512_loadu_ps(p); }
TANDEM_INLINE Vec vload_part(const float* p, int n) { return _mm512_maskz_loadu_ps(lanes(n), p); }
TANDEM_INLINE void vstore(float* p, Vec v) { _mm512_storeu_ps(p, v); }
TANDEM_INLINE void vstore_part(float* p, Vec v, int n) { _mm512_mask_storeu_ps(p, lanes(n), v); }
TANDEM_INLINE Vec vfma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
TANDEM_INLINE Vec vadd(Vec a, Vec b) { return _mm512_add_ps(a, b); }
// The second operand wins when one is not a number: a NaN in `b` survives.
TANDEM_INLINE Vec vmax(Vec a, Vec b) { return _mm512_maskz_max_ps(ALL, a, b); }

#elif defined(TANDEM_ISA_AVX2)

constexpr int W = 8, MR = 6, WIDE4_ROWS = 2, WIDE8_ROWS = 1;
typedef __m256 Vec;

TANDEM_INLINE __m256i lanes(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
TANDEM_INLINE Vec vzero() { return _mm256_setzero_ps(); }
TANDEM_INLINE Vec vset(float x) { return _mm256_set1_ps(x); }
TANDEM_INLINE Vec vload(const float* p) { return _mm256_loadu_ps(p); }
TANDEM_INLINE Vec vload_part(const float* p, int n) { return _mm256_maskload_ps(p, lanes(n)); }
TANDEM_INLINE void vstore(float* p, Vec v) { _mm256_storeu_ps(p, v); }
TANDEM_INLINE void vstore_part(float* p, Vec v, int n) { _mm256_maskstore_ps(p, lanes(n), v); }
TANDEM_INLINE Vec vfma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
TANDEM_INLINE Vec vadd(Vec a, Vec b) { return _mm256_add_ps(a, b); }
TANDEM_INLINE Vec vmax(Vec a, Vec b) { return _mm256_max_ps(a, b); }

#else

// Four lanes in plain C++: the compiler maps them to whatever the baseline has.
constexpr int W = 4, MR = 4, WIDE4_ROWS = 1, WIDE8_ROWS = 0;
struct Vec {
  float lane[W];
};

TANDEM_INLINE Vec vset(float x) { return {{x, x, x, x}}; }
TANDEM_INLINE Vec vzero() { return vset(0.0f); }
TANDEM_INLINE Vec vload(const float* p) { return {{p[0], p[1], p[2], p[3]}}; }
TANDEM_INLINE Vec vload_part(const float* p, int n) {
  Vec v = vzero();
  for (int i = 0; i < n; ++i) v.lane[i] = p[i];
  return v;
}
TANDEM_INLINE void vstore_part(float* p, Vec v, int n) {
  for (int i = 0; i < n; ++i) p[i] = v.lane[i];
}
TANDEM_INLINE void vstore(float* p, Vec v) { vstore_part(p, v, W); }
TANDEM_INLINE Vec vadd(Vec a, Vec b) {
  for (int i = 0; i < W; ++i) a.lane[i] += b.lane[i];
  return a;
}
TANDEM_INLINE Vec vfma(Vec a, Vec b, Vec c) {
  for (int i = 0; i < W; ++i) c.lane[i] += a.lane[i] * b.lane[i];
  return c;
}
TANDEM_INLINE Vec vmax(Vec a, Vec b) {
  for (int i = 0; i < W; ++i) b.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i];
  return b;
}

#endif

constexpr int NR = 2 * W;

TANDEM_INLINE int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
TANDEM_INLINE int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }
TANDEM_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Start of part i when `total` is cut in `parts` that differ by one at most.
TANDEM_INLINE int64_t part_start(int64_t total, int64_t parts, int64_t i) {
  return (total / parts) * i + at_most(total % parts, i);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
