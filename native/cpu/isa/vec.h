// The float vector of this instruction set and its arithmetic: kWidth is 1, 8 or 16. Math functions
// are in math.h. Everything here is static and in the namespace of the instruction set (see
// cpu/kernel.h), and works on values: no function touches memory outside [p, p + n).
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(TANDEM_ISA_AVX2) || defined(TANDEM_ISA_AVX512)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12 about its own _mm512_undefined_*
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define TANDEM_INLINE [[maybe_unused]] static __forceinline
#else
#define TANDEM_INLINE [[maybe_unused]] static inline __attribute__((always_inline))
#endif

namespace tandem::cpu::TANDEM_ISA_NS {

#if defined(TANDEM_ISA_AVX512)

inline constexpr int kWidth = 16;
struct Vec {
  __m512 v;
};
struct IVec {
  __m512i v;
};
struct Mask {
  __mmask16 m;
};

TANDEM_INLINE Vec set1(float x) { return {_mm512_set1_ps(x)}; }
TANDEM_INLINE Vec zero() { return {_mm512_setzero_ps()}; }
TANDEM_INLINE Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
TANDEM_INLINE void store(float* p, Vec x) { _mm512_storeu_ps(p, x.v); }
/// The first `n` lanes, 0 <= n; all from kWidth on.
TANDEM_INLINE Mask first(int64_t n) {
  return {n >= kWidth ? static_cast<__mmask16>(0xffff)
                      : static_cast<__mmask16>(_bzhi_u32(0xffffU, static_cast<unsigned>(n)))};
}
/// The same for n <= kWidth, which spares the comparison.
TANDEM_INLINE Mask first_few(int n) { return {static_cast<__mmask16>((1U << n) - 1U)}; }
TANDEM_INLINE Vec load_masked(const float* p, Mask m) { return {_mm512_maskz_loadu_ps(m.m, p)}; }
TANDEM_INLINE void store_masked(float* p, Vec x, Mask m) { _mm512_mask_storeu_ps(p, m.m, x.v); }
TANDEM_INLINE Vec load_partial(const float* p, int64_t n) { return load_masked(p, first(n)); }
TANDEM_INLINE void store_partial(float* p, Vec x, int64_t n) { store_masked(p, x, first(n)); }

TANDEM_INLINE Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
TANDEM_INLINE Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
TANDEM_INLINE Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
TANDEM_INLINE Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
TANDEM_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
TANDEM_INLINE Vec fused(Vec a, Vec b, Vec c) { return fma(a, b, c); }
/// c - a * b, rounded once.
TANDEM_INLINE Vec minus_product(Vec c, Vec a, Vec b) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
TANDEM_INLINE Vec sqrt_(Vec x) { return {_mm512_sqrt_ps(x.v)}; }
/// 1 / x to 14 bits (12 with AVX2, exact without vectors) at a fraction of a division's cost.
TANDEM_INLINE Vec reciprocal_estimate(Vec x) { return {_mm512_rcp14_ps(x.v)}; }
/// To the nearest integer, halves to even.
TANDEM_INLINE Vec round_(Vec x) {
  return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

TANDEM_INLINE IVec bits(Vec x) { return {_mm512_castps_si512(x.v)}; }
TANDEM_INLINE Vec from_bits(IVec x) { return {_mm512_castsi512_ps(x.v)}; }
/// To the nearest integer; any one if it does not fit.
TANDEM_INLINE IVec to_int(Vec x) { return {_mm512_cvtps_epi32(x.v)}; }
TANDEM_INLINE Vec to_float(IVec x) { return {_mm512_cvtepi32_ps(x.v)}; }
TANDEM_INLINE IVec iset1(int32_t x) { return {_mm512_set1_epi32(x)}; }
TANDEM_INLINE IVec iload(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
TANDEM_INLINE void istore(int32_t* p, IVec x) { _mm512_storeu_si512(p, x.v); }
TANDEM_INLINE IVec iload_partial(const int32_t* p, int64_t n) {
  return {_mm512_maskz_loadu_epi32(first(n).m, p)};
}
TANDEM_INLINE void istore_partial(int32_t* p, IVec x, int64_t n) {
  _mm512_mask_storeu_epi32(p, first(n).m, x.v);
}
TANDEM_INLINE IVec operator+(IVec a, IVec b) { return {_mm512_add_epi32(a.v, b.v)}; }
TANDEM_INLINE IVec operator-(IVec a, IVec b) { return {_mm512_sub_epi32(a.v, b.v)}; }
TANDEM_INLINE IVec operator*(IVec a, IVec b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
TANDEM_INLINE IVec operator&(IVec a, IVec b) { return {_mm512_and_si512(a.v, b.v)}; }
TANDEM_INLINE IVec operator|(IVec a, IVec b) { return {_mm512_or_si512(a.v, b.v)}; }
TANDEM_INLINE IVec operator^(IVec a, IVec b) { return {_mm512_xor_si512(a.v, b.v)}; }
template <int n>
TANDEM_INLINE IVec shl(IVec x) {
  return {_mm512_slli_epi32(x.v, n)};
}
template <int n>
TANDEM_INLINE IVec shr_signed(IVec x) {
  return {_mm512_srai_epi32(x.v, n)};
}
template <int n>
TANDEM_INLINE IVec shr_unsigned(IVec x) {
  return {_mm512_srli_epi32(x.v, n)};
}

// False where an operand is NaN, except !=.
TANDEM_INLINE Mask operator>(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
TANDEM_INLINE Mask operator>=(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
TANDEM_INLINE Mask operator==(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
TANDEM_INLINE Mask operator!=(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_NEQ_UQ)}; }
TANDEM_INLINE Mask operator>(IVec a, IVec b) { return {_mm512_cmpgt_epi32_mask(a.v, b.v)}; }
TANDEM_INLINE Mask operator==(IVec a, IVec b) { return {_mm512_cmpeq_epi32_mask(a.v, b.v)}; }
TANDEM_INLINE Mask operator&(Mask a, Mask b) { return {static_cast<__mmask16>(a.m & b.m)}; }
TANDEM_INLINE Mask operator|(Mask a, Mask b) { return {static_cast<__mmask16>(a.m | b.m)}; }
TANDEM_INLINE Mask operator!(Mask a) { return {static_cast<__mmask16>(~a.m)}; }
TANDEM_INLINE bool any(Mask m) { return m.m != 0; }
/// table[i modulo 8]
TANDEM_INLINE Vec lookup(const float (&table)[8], IVec i) {
  return {_mm512_permutexvar_ps(i.v, _mm512_broadcast_f32x8(_mm256_loadu_ps(table)))};
}
TANDEM_INLINE Vec select(Mask m, Vec yes, Vec no) {
  return {_mm512_mask_blend_ps(m.m, no.v, yes.v)};
}
TANDEM_INLINE IVec select(Mask m, IVec yes, IVec no) {
  return {_mm512_mask_blend_epi32(m.m, no.v, yes.v)};
}

// NaN in either operand gives NaN.
TANDEM_INLINE Vec max_(Vec a, Vec b) { return select(a != a, a, {_mm512_max_ps(a.v, b.v)}); }
TANDEM_INLINE Vec min_(Vec a, Vec b) { return select(a != a, a, {_mm512_min_ps(a.v, b.v)}); }
// One instruction: `b` where either operand is NaN.
TANDEM_INLINE Vec greater_of(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
TANDEM_INLINE Vec lesser_of(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }

/// The lanes folded in halves: always the same order.
TANDEM_INLINE float reduce_add(Vec x) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/// Sums vectors in double precision, lane by lane.
struct DoubleSum {
  __m512d low, high;
};
TANDEM_INLINE DoubleSum double_zero() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }
TANDEM_INLINE void add(DoubleSum& sum, Vec x) {
  sum.low = _mm512_add_pd(sum.low, _mm512_cvtps_pd(_mm512_castps512_ps256(x.v)));
  sum.high = _mm512_add_pd(sum.high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(x.v, 1)));
}
TANDEM_INLINE void add_product(DoubleSum& sum, Vec a, Vec b) {
  sum.low = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(a.v)),
                            _mm512_cvtps_pd(_mm512_castps512_ps256(b.v)), sum.low);
  sum.high = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1)),
                             _mm512_cvtps_pd(_mm512_extractf32x8_ps(b.v, 1)), sum.high);
}
TANDEM_INLINE double total(const DoubleSum& sum) {
  const __m512d eight = _mm512_add_pd(sum.low, sum.high);
  const __m256d four =
      _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

#elif defined(TANDEM_ISA_AVX2)

inline constexpr int kWidth = 8;
struct Vec {
  __m256 v;
};
struct IVec {
  __m256i v;
};
struct Mask {
  __m256 m;  ///< all bits of a lane set or none
};

TANDEM_INLINE Vec set1(float x) { return {_mm256_set1_ps(x)}; }
TANDEM_INLINE Vec zero() { return {_mm256_setzero_ps()}; }
TANDEM_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
TANDEM_INLINE void store(float* p, Vec x) { _mm256_storeu_ps(p, x.v); }
/// The first `n` lanes, 0 <= n <= kWidth.
TANDEM_INLINE Mask first_few(int n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane))};
}
/// The same for any 0 <= n; all from kWidth on.
TANDEM_INLINE Mask first(int64_t n) {
  return first_few(static_cast<int>(n >= kWidth ? kWidth : n));
}
TANDEM_INLINE Vec load_masked(const float* p, Mask m) {
  return {_mm256_maskload_ps(p, _mm256_castps_si256(m.m))};
}
TANDEM_INLINE void store_masked(float* p, Vec x, Mask m) {
  _mm256_maskstore_ps(p, _mm256_castps_si256(m.m), x.v);
}
TANDEM_INLINE Vec load_partial(const float* p, int64_t n) { return load_masked(p, first(n)); }
TANDEM_INLINE void store_partial(float* p, Vec x, int64_t n) { store_masked(p, x, first(n)); }

TANDEM_INLINE Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
TANDEM_INLINE Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
TANDEM_INLINE Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
TANDEM_INLINE Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
TANDEM_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
TANDEM_INLINE Vec fused(Vec a, Vec b, Vec c) { return fma(a, b, c); }
TANDEM_INLINE Vec minus_product(Vec c, Vec a, Vec b) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
TANDEM_INLINE Vec sqrt_(Vec x) { return {_mm256_sqrt_ps(x.v)}; }
TANDEM_INLINE Vec reciprocal_estimate(Vec x) { return {_mm256_rcp_ps(x.v)}; }
/// To the nearest integer, halves to even.
TANDEM_INLINE Vec round_(Vec x) {
  return {_mm256_round_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

TANDEM_INLINE IVec bits(Vec x) { return {_mm256_castps_si256(x.v)}; }
TANDEM_INLINE Vec from_bits(IVec x) { return {_mm256_castsi256_ps(x.v)}; }
/// To the nearest integer; any one if it does not fit.
TANDEM_INLINE IVec to_int(Vec x) { return {_mm256_cvtps_epi32(x.v)}; }
TANDEM_INLINE Vec to_float(IVec x) { return {_mm256_cvtepi32_ps(x.v)}; }
TANDEM_INLINE IVec iset1(int32_t x) { return {_mm256_set1_epi32(x)}; }
TANDEM_INLINE IVec iload(const int32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
}
TANDEM_INLINE void istore(int32_t* p, IVec x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.v);
}
TANDEM_INLINE IVec iload_partial(const int32_t* p, int64_t n) {
  return {_mm256_maskload_epi32(p, _mm256_castps_si256(first(n).m))};
}
TANDEM_INLINE void istore_partial(int32_t* p, IVec x, int64_t n) {
  _mm256_maskstore_epi32(p, _mm256_castps_si256(first(n).m), x.v);
}
TANDEM_INLINE IVec operator+(IVec a, IVec b) { return {_mm256_add_epi32(a.v, b.v)}; }
TANDEM_INLINE IVec operator-(IVec a, IVec b) { return {_mm256_sub_epi32(a.v, b.v)}; }
TANDEM_INLINE IVec operator*(IVec a, IVec b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
TANDEM_INLINE IVec operator&(IVec a, IVec b) { return {_mm256_and_si256(a.v, b.v)}; }
TANDEM_INLINE IVec operator|(IVec a, IVec b) { return {_mm256_or_si256(a.v, b.v)}; }
TANDEM_INLINE IVec operator^(IVec a, IVec b) { return {_mm256_xor_si256(a.v, b.v)}; }
template <int n>
TANDEM_INLINE IVec shl(IVec x) {
  return {_mm256_slli_epi32(x.v, n)};
}
template <int n>
TANDEM_INLINE IVec shr_signed(IVec x) {
  return {_mm256_srai_epi32(x.v, n)};
}
template <int n>
TANDEM_INLINE IVec shr_unsigned(IVec x) {
  return {_mm256_srli_epi32(x.v, n)};
}

// False where an operand is NaN, except !=.
TANDEM_INLINE Mask operator>(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
TANDEM_INLINE Mask operator>=(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ)}; }
TANDEM_INLINE Mask operator==(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
TANDEM_INLINE Mask operator!=(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_NEQ_UQ)}; }
TANDEM_INLINE Mask operator>(IVec a, IVec b) {
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(a.v, b.v))};
}
TANDEM_INLINE Mask operator==(IVec a, IVec b) {
  return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(a.v, b.v))};
}
TANDEM_INLINE Mask operator&(Mask a, Mask b) { return {_mm256_and_ps(a.m, b.m)}; }
TANDEM_INLINE Mask operator|(Mask a, Mask b) { return {_mm256_or_ps(a.m, b.m)}; }
TANDEM_INLINE Mask operator!(Mask a) {
  return {_mm256_xor_ps(a.m, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))};
}
TANDEM_INLINE bool any(Mask m) { return _mm256_movemask_ps(m.m) != 0; }
/// table[i modulo 8]
TANDEM_INLINE Vec lookup(const float (&table)[8], IVec i) {
  return {_mm256_permutevar8x32_ps(_mm256_loadu_ps(table), i.v)};
}
TANDEM_INLINE Vec select(Mask m, Vec yes, Vec no) { return {_mm256_blendv_ps(no.v, yes.v, m.m)}; }
TANDEM_INLINE IVec select(Mask m, IVec yes, IVec no) {
  return bits(select(m, from_bits(yes), from_bits(no)));
}

// NaN in either operand gives NaN.
TANDEM_INLINE Vec max_(Vec a, Vec b) { return select(a != a, a, {_mm256_max_ps(a.v, b.v)}); }
TANDEM_INLINE Vec min_(Vec a, Vec b) { return select(a != a, a, {_mm256_min_ps(a.v, b.v)}); }
// One instruction: `b` where either operand is NaN.
TANDEM_INLINE Vec greater_of(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
TANDEM_INLINE Vec lesser_of(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }

/// The lanes folded in halves: always the same order.
TANDEM_INLINE float reduce_add(Vec x) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/// Sums vectors in double precision, lane by lane.
struct DoubleSum {
  __m256d low, high;
};
TANDEM_INLINE DoubleSum double_zero() { return {_mm256_setzero_pd(), _mm256_setzero_pd()}; }
TANDEM_INLINE void add(DoubleSum& sum, Vec x) {
  sum.low = _mm256_add_pd(sum.low, _mm256_cvtps_pd(_mm256_castps256_ps128(x.v)));
  sum.high = _mm256_add_pd(sum.high, _mm256_cvtps_pd(_mm256_extractf128_ps(x.v, 1)));
}
TANDEM_INLINE void add_product(DoubleSum& sum, Vec a, Vec b) {
  sum.low = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(a.v)),
                            _mm256_cvtps_pd(_mm256_castps256_ps128(b.v)), sum.low);
  sum.high = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1)),
                             _mm256_cvtps_pd(_mm256_extractf128_ps(b.v, 1)), sum.high);
}
TANDEM_INLINE double total(const DoubleSum& sum) {
  const __m256d four = _mm256_add_pd(sum.low, sum.high);
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

#else  // scalar

inline constexpr int kWidth = 1;
struct Vec {
  float v;
};
struct IVec {
  int32_t v;
};
// All bits or none, and selection by bits: straight-line code, which compilers vectorise and share.
struct Mask {
  int32_t m;
};
TANDEM_INLINE Mask mask_of(bool condition) { return {condition ? -1 : 0}; }

TANDEM_INLINE Vec set1(float x) { return {x}; }
TANDEM_INLINE Vec zero() { return {0.0F}; }
TANDEM_INLINE Vec load(const float* p) { return {*p}; }
TANDEM_INLINE void store(float* p, Vec x) { *p = x.v; }
/// The first `n` lanes, 0 <= n; all from kWidth on.
TANDEM_INLINE Mask first(int64_t n) { return mask_of(n > 0); }
TANDEM_INLINE Vec load_partial(const float* p, int64_t n) { return {n > 0 ? *p : 0.0F}; }
TANDEM_INLINE void store_partial(float* p, Vec x, int64_t n) {
  if (n > 0) *p = x.v;
}

TANDEM_INLINE Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
TANDEM_INLINE Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
TANDEM_INLINE Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
TANDEM_INLINE Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
/// a * b + c, rounded once where the processor does so, otherwise twice. Where the result needs the
/// single rounding, use fused(), which here goes through double.
TANDEM_INLINE Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
TANDEM_INLINE Vec fused(Vec a, Vec b, Vec c) {
  return {static_cast<float>(static_cast<double>(a.v) * static_cast<double>(b.v) +
                             static_cast<double>(c.v))};
}
TANDEM_INLINE Vec minus_product(Vec c, Vec a, Vec b) { return {c.v - a.v * b.v}; }
TANDEM_INLINE Vec sqrt_(Vec x) { return {__builtin_sqrtf(x.v)}; }
TANDEM_INLINE Vec reciprocal_estimate(Vec x) { return {1.0F / x.v}; }
TANDEM_INLINE IVec bits(Vec x) {
  int32_t i;
  __builtin_memcpy(&i, &x.v, 4);
  return {i};
}
TANDEM_INLINE Vec from_bits(IVec x) {
  float f;
  __builtin_memcpy(&f, &x.v, 4);
  return {f};
}
TANDEM_INLINE Vec to_float(IVec x) { return {static_cast<float>(x.v)}; }
TANDEM_INLINE IVec iset1(int32_t x) { return {x}; }
TANDEM_INLINE IVec iload(const int32_t* p) { return {*p}; }
TANDEM_INLINE void istore(int32_t* p, IVec x) { *p = x.v; }
TANDEM_INLINE IVec iload_partial(const int32_t* p, int64_t n) { return {n > 0 ? *p : 0}; }
TANDEM_INLINE void istore_partial(int32_t* p, IVec x, int64_t n) {
  if (n > 0) *p = x.v;
}
TANDEM_INLINE uint32_t as_unsigned(IVec x) { return static_cast<uint32_t>(x.v); }
TANDEM_INLINE IVec operator+(IVec a, IVec b) {
  return {static_cast<int32_t>(as_unsigned(a) + as_unsigned(b))};
}
TANDEM_INLINE IVec operator-(IVec a, IVec b) {
  return {static_cast<int32_t>(as_unsigned(a) - as_unsigned(b))};
}
TANDEM_INLINE IVec operator*(IVec a, IVec b) {
  return {static_cast<int32_t>(as_unsigned(a) * as_unsigned(b))};
}
TANDEM_INLINE IVec operator&(IVec a, IVec b) { return {a.v & b.v}; }
TANDEM_INLINE IVec operator|(IVec a, IVec b) { return {a.v | b.v}; }
TANDEM_INLINE IVec operator^(IVec a, IVec b) { return {a.v ^ b.v}; }
template <int n>
TANDEM_INLINE IVec shl(IVec x) {
  return {static_cast<int32_t>(as_unsigned(x) << n)};
}
template <int n>
TANDEM_INLINE IVec shr_signed(IVec x) {
  return {x.v >> n};
}
template <int n>
TANDEM_INLINE IVec shr_unsigned(IVec x) {
  return {static_cast<int32_t>(as_unsigned(x) >> n)};
}

// False where an operand is NaN, except !=.
TANDEM_INLINE Mask operator>(Vec a, Vec b) { return mask_of(a.v > b.v); }
TANDEM_INLINE Mask operator>=(Vec a, Vec b) { return mask_of(a.v >= b.v); }
TANDEM_INLINE Mask operator==(Vec a, Vec b) { return mask_of(a.v == b.v); }
TANDEM_INLINE Mask operator!=(Vec a, Vec b) { return mask_of(a.v != b.v); }
TANDEM_INLINE Mask operator>(IVec a, IVec b) { return mask_of(a.v > b.v); }
TANDEM_INLINE Mask operator==(IVec a, IVec b) { return mask_of(a.v == b.v); }
TANDEM_INLINE Mask operator&(Mask a, Mask b) { return {a.m & b.m}; }
TANDEM_INLINE Mask operator|(Mask a, Mask b) { return {a.m | b.m}; }
TANDEM_INLINE Mask operator!(Mask a) { return {~a.m}; }
TANDEM_INLINE bool any(Mask m) { return m.m != 0; }
/// table[i modulo 8]
TANDEM_INLINE Vec lookup(const float (&table)[8], IVec i) { return {table[i.v & 7]}; }
TANDEM_INLINE IVec select(Mask m, IVec yes, IVec no) { return {(yes.v & m.m) | (no.v & ~m.m)}; }
TANDEM_INLINE Vec select(Mask m, Vec yes, Vec no) {
  return from_bits(select(m, bits(yes), bits(no)));
}

// NaN in either operand gives NaN.
TANDEM_INLINE Vec max_(Vec a, Vec b) { return select((a > b) | (a != a), a, b); }
TANDEM_INLINE Vec min_(Vec a, Vec b) { return select((b > a) | (a != a), a, b); }
// One instruction: `b` where either operand is NaN.
TANDEM_INLINE Vec greater_of(Vec a, Vec b) { return select(a > b, a, b); }
TANDEM_INLINE Vec lesser_of(Vec a, Vec b) { return select(b > a, a, b); }

/// To the nearest integer, halves to even.
TANDEM_INLINE Vec round_(Vec x) {
  const IVec sign = bits(x) & iset1(INT32_MIN);
  const Vec magic = from_bits(sign | iset1(0x4b000000));  // 2^23: no bits are left for a fraction
  const Vec rounded = from_bits(bits((x + magic) - magic) | sign);
  const Vec magnitude = from_bits(bits(x) & iset1(INT32_MAX));
  return select(set1(0x1p23F) > magnitude, rounded, x);
}
/// To the nearest integer; any one if it does not fit.
TANDEM_INLINE IVec to_int(Vec x) {
  return {static_cast<int32_t>(
      lesser_of(greater_of(round_(x), set1(-0x1p31F)), set1(2147483520.0F)).v)};
}

TANDEM_INLINE float reduce_add(Vec x) { return x.v; }

/// Sums vectors in double precision, lane by lane.
struct DoubleSum {
  double sum;
};
TANDEM_INLINE DoubleSum double_zero() { return {0.0}; }
TANDEM_INLINE void add(DoubleSum& sum, Vec x) { sum.sum += static_cast<double>(x.v); }
TANDEM_INLINE void add_product(DoubleSum& sum, Vec a, Vec b) {
  sum.sum += static_cast<double>(a.v) * static_cast<double>(b.v);
}
TANDEM_INLINE double total(const DoubleSum& sum) { return sum.sum; }

#endif

// ---- the same for every width ----------------------------------------------------------------

/// A literal in the expressions of elementwise.def.
TANDEM_INLINE Vec c(float x) { return set1(x); }

TANDEM_INLINE Mask operator<(Vec a, Vec b) { return b > a; }
TANDEM_INLINE Mask operator<=(Vec a, Vec b) { return b >= a; }
TANDEM_INLINE Mask is_nan(Vec x) { return x != x; }
TANDEM_INLINE Vec& operator+=(Vec& a, Vec b) { return a = a + b; }
TANDEM_INLINE Vec& operator-=(Vec& a, Vec b) { return a = a - b; }
TANDEM_INLINE Vec& operator*=(Vec& a, Vec b) { return a = a * b; }

TANDEM_INLINE Vec operator-(Vec x) { return from_bits(bits(x) ^ iset1(INT32_MIN)); }
TANDEM_INLINE Vec abs_(Vec x) { return from_bits(bits(x) & iset1(INT32_MAX)); }
/// The magnitude of `x` with the sign of `sign`.
TANDEM_INLINE Vec copysign_(Vec x, Vec sign) {
  return from_bits((bits(x) & iset1(INT32_MAX)) | (bits(sign) & iset1(INT32_MIN)));
}

TANDEM_INLINE Vec where_gt(Vec p, Vec q, Vec r, Vec s) { return select(p > q, r, s); }
TANDEM_INLINE Vec where_ge(Vec p, Vec q, Vec r, Vec s) { return select(p >= q, r, s); }
TANDEM_INLINE Vec where_eq(Vec p, Vec q, Vec r, Vec s) { return select(p == q, r, s); }

/// The largest lane; NaN if there is one.
TANDEM_INLINE float reduce_max(Vec x) {
#if defined(TANDEM_ISA_SCALAR)
  return x.v;
#else
#if defined(TANDEM_ISA_AVX512)
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
#else
  const __m256 eight = x.v;
#endif
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  m = _mm_max_ss(m, _mm_movehdup_ps(m));
  return any(is_nan(x)) ? __builtin_nanf("") : _mm_cvtss_f32(m);
#endif
}
/// The smallest lane; NaN if there is one.
TANDEM_INLINE float reduce_min(Vec x) { return -reduce_max(-x); }

/// Lanes from `n` on replaced by `fill`: for the last, partial vector of a reduction.
TANDEM_INLINE Vec keep_first(Vec x, int64_t n, Vec fill) { return select(first(n), x, fill); }

}  // namespace tandem::cpu::TANDEM_ISA_NS
