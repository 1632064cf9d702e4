// The lanes of lanes.h as 32-bit words: integers, pairs of bfloat16 or fours of bytes, and their
// way from and to memory, which need not be aligned. Static and in the namespace of the
// instruction set, as in vec.h.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/isa/lanes.h"

namespace tandem::cpu::TANDEM_ISA_NS {

#if defined(TANDEM_ISA_SCALAR)

struct Words {
  int32_t lane[kLanes];
};

// Written once for all that works lane by lane; sums wrap around.
#define TANDEM_EACH_LANE(expression)                                               \
  Words out;                                                                       \
  for (int i = 0; i < kLanes; ++i) out.lane[i] = static_cast<int32_t>(expression); \
  return out

TANDEM_INLINE Words spread_word(int32_t x) { TANDEM_EACH_LANE(x); }
TANDEM_INLINE uint32_t bits_of(Words a, int i) { return static_cast<uint32_t>(a.lane[i]); }
TANDEM_INLINE Words operator+(Words a, Words b) { TANDEM_EACH_LANE(bits_of(a, i) + bits_of(b, i)); }
TANDEM_INLINE Words operator-(Words a, Words b) { TANDEM_EACH_LANE(bits_of(a, i) - bits_of(b, i)); }
TANDEM_INLINE Words operator*(Words a, Words b) { TANDEM_EACH_LANE(bits_of(a, i) * bits_of(b, i)); }
TANDEM_INLINE Words operator&(Words a, Words b) { TANDEM_EACH_LANE(a.lane[i] & b.lane[i]); }
TANDEM_INLINE Words operator|(Words a, Words b) { TANDEM_EACH_LANE(a.lane[i] | b.lane[i]); }
TANDEM_INLINE Words operator^(Words a, Words b) { TANDEM_EACH_LANE(a.lane[i] ^ b.lane[i]); }
template <int n>
TANDEM_INLINE Words shl(Words a) {
  TANDEM_EACH_LANE(bits_of(a, i) << n);
}
template <int n>
TANDEM_INLINE Words shr_unsigned(Words a) {
  TANDEM_EACH_LANE(bits_of(a, i) >> n);
}
TANDEM_INLINE Words to_words(Lanes x) { TANDEM_EACH_LANE(to_int(Vec{x.lane[i]}).v); }
TANDEM_INLINE Words load_words(const void* p) {
  Words x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
TANDEM_INLINE Words load_words(const void* p, int n) {
  Words x = spread_word(0);
  std::memcpy(&x, p, static_cast<size_t>(n) * 4);
  return x;
}
TANDEM_INLINE void store_words(void* p, Words x) { std::memcpy(p, &x, sizeof x); }
TANDEM_INLINE void store_words(void* p, Words x, int n) {
  std::memcpy(p, &x, static_cast<size_t>(n) * 4);
}
TANDEM_INLINE Words load_u16(const void* p) {
  uint16_t x[kLanes];
  std::memcpy(x, p, sizeof x);
  TANDEM_EACH_LANE(x[i]);
}
TANDEM_INLINE Words load_u8(const void* p) {
  uint8_t x[kLanes];
  std::memcpy(x, p, sizeof x);
  TANDEM_EACH_LANE(x[i]);
}
TANDEM_INLINE void store_u16(void* p, Words x) {
  for (int i = 0; i < kLanes; ++i) std::memcpy(static_cast<char*>(p) + 2 * i, &x.lane[i], 2);
}
TANDEM_INLINE void store_u8(void* p, Words x) {
  for (int i = 0; i < kLanes; ++i) std::memcpy(static_cast<char*>(p) + i, &x.lane[i], 1);
}
TANDEM_INLINE Words as_words(Lanes x) {
  Words out;
  std::memcpy(&out, &x, sizeof out);
  return out;
}
TANDEM_INLINE Lanes as_lanes(Words x) {
  Lanes out;
  std::memcpy(&out, &x, sizeof out);
  return out;
}
TANDEM_INLINE Lanes to_lanes(Words x) {
  Lanes out;
  for (int i = 0; i < kLanes; ++i) out.lane[i] = static_cast<float>(x.lane[i]);
  return out;
}
TANDEM_INLINE Lanes operator*(Lanes a, Lanes b) {
  for (int i = 0; i < kLanes; ++i) a.lane[i] *= b.lane[i];
  return a;
}
TANDEM_INLINE Lanes lesser_of(Lanes a, Lanes b) {
  for (int i = 0; i < kLanes; ++i) b.lane[i] = a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i];
  return b;
}
TANDEM_INLINE Words where_nan(Lanes x, Words yes, Words no) {
  for (int i = 0; i < kLanes; ++i) no.lane[i] = x.lane[i] != x.lane[i] ? yes.lane[i] : no.lane[i];
  return no;
}
#undef TANDEM_EACH_LANE

#else

using Words = IVec;

TANDEM_INLINE Words spread_word(int32_t x) { return iset1(x); }
TANDEM_INLINE Words as_words(Lanes x) { return bits(x); }
TANDEM_INLINE Lanes as_lanes(Words x) { return from_bits(x); }
TANDEM_INLINE Lanes to_lanes(Words x) { return to_float(x); }
/// To the nearest integer, halves to even.
TANDEM_INLINE Words to_words(Lanes x) { return to_int(x); }
TANDEM_INLINE Words where_nan(Lanes x, Words yes, Words no) { return select(x != x, yes, no); }

#if defined(TANDEM_ISA_AVX512)

TANDEM_INLINE Words load_words(const void* p) { return {_mm512_loadu_si512(p)}; }
TANDEM_INLINE Words load_words(const void* p, int n) {
  return {_mm512_maskz_loadu_epi32(first_few(n).m, p)};
}
TANDEM_INLINE void store_words(void* p, Words x) { _mm512_storeu_si512(p, x.v); }
TANDEM_INLINE void store_words(void* p, Words x, int n) {
  _mm512_mask_storeu_epi32(p, first_few(n).m, x.v);
}
TANDEM_INLINE Words load_u16(const void* p) {
  return {_mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}
TANDEM_INLINE Words load_u8(const void* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)))};
}
TANDEM_INLINE void store_u16(void* p, Words x) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtepi32_epi16(x.v));
}
TANDEM_INLINE void store_u8(void* p, Words x) {
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x.v));
}

#else

TANDEM_INLINE Words load_words(const void* p) {
  return {_mm256_loadu_si256(static_cast<const __m256i*>(p))};
}
TANDEM_INLINE Words load_words(const void* p, int n) {
  return {_mm256_maskload_epi32(static_cast<const int*>(p), _mm256_castps_si256(first_few(n).m))};
}
TANDEM_INLINE void store_words(void* p, Words x) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), x.v);
}
TANDEM_INLINE void store_words(void* p, Words x, int n) {
  _mm256_maskstore_epi32(static_cast<int*>(p), _mm256_castps_si256(first_few(n).m), x.v);
}
TANDEM_INLINE Words load_u16(const void* p) {
  return {_mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)))};
}
TANDEM_INLINE Words load_u8(const void* p) {
  return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p)))};
}
TANDEM_INLINE void store_u16(void* p, Words x) {
  const __m256i low = _mm256_and_si256(x.v, _mm256_set1_epi32(0xffff));
  const __m256i pairs = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm256_castsi256_si128(pairs));
}
TANDEM_INLINE void store_u8(void* p, Words x) {
  const __m256i low = _mm256_and_si256(x.v, _mm256_set1_epi32(0xff));
  const __m256i pairs = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
  const __m128i half = _mm256_castsi256_si128(pairs);
  _mm_storel_epi64(static_cast<__m128i*>(p), _mm_packus_epi16(half, half));
}

#endif

/// How pack_bytes turns 32-bit integers to bytes.
struct BytePacking {
  Words zero, low;  // of 16 bits each
  bool is_signed;
  bool plain;  // zero is 0, and low is what saturation gives anyway
};
TANDEM_INLINE BytePacking byte_packing(int zero, int low, bool is_signed) {
  const auto twice = [](int x) { return spread_word((x << 16) | (x & 0xffff)); };
  return {twice(zero), twice(low), is_signed, zero == 0 && low == (is_signed ? -128 : 0)};
}
/// Words of four vectors plus `zero`, but at least `low`, saturated to bytes: the vectors one after
/// the other.
TANDEM_INLINE Words pack_bytes(Words a, Words b, Words c, Words d, const BytePacking& p) {
#if defined(TANDEM_ISA_AVX512)
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const auto halves = [&](Words x, Words y) {
    const __m512i sum = _mm512_packs_epi32(x.v, y.v);
    return p.plain ? sum : _mm512_max_epi16(_mm512_adds_epi16(sum, p.zero.v), p.low.v);
  };
  const __m512i ab = halves(a, b), cd = halves(c, d);
  return {_mm512_permutexvar_epi32(
      order, p.is_signed ? _mm512_packs_epi16(ab, cd) : _mm512_packus_epi16(ab, cd))};
#else
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const auto halves = [&](Words x, Words y) {
    const __m256i sum = _mm256_packs_epi32(x.v, y.v);
    return p.plain ? sum : _mm256_max_epi16(_mm256_adds_epi16(sum, p.zero.v), p.low.v);
  };
  const __m256i ab = halves(a, b), cd = halves(c, d);
  return {_mm256_permutevar8x32_epi32(
      p.is_signed ? _mm256_packs_epi16(ab, cd) : _mm256_packus_epi16(ab, cd), order)};
#endif
}
/// The lower and the upper half of a vector.
TANDEM_INLINE void store_halves(void* low, void* high, Words x) {
#if defined(TANDEM_ISA_AVX512)
  _mm256_storeu_si256(static_cast<__m256i*>(low), _mm512_castsi512_si256(x.v));
  _mm256_storeu_si256(static_cast<__m256i*>(high), _mm512_extracti64x4_epi64(x.v, 1));
#else
  _mm_storeu_si128(static_cast<__m128i*>(low), _mm256_castsi256_si128(x.v));
  _mm_storeu_si128(static_cast<__m128i*>(high), _mm256_extracti128_si256(x.v, 1));
#endif
}

#endif

#if defined(TANDEM_ISA_AVX512)

TANDEM_INLINE __mmask32 first_halves(int n) { return static_cast<__mmask32>((1ULL << n) - 1U); }
TANDEM_INLINE Words load_u16(const void* p, int n) {
  return {_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_few(n).m, p))};
}
TANDEM_INLINE Words load_u8(const void* p, int n) {
  return {_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first_few(n).m, p))};
}
/// The low halves of the words.
TANDEM_INLINE void store_u16(void* p, Words x, int n) {
  _mm256_mask_storeu_epi16(p, first_few(n).m, _mm512_cvtepi32_epi16(x.v));
}
/// The low bytes of the words.
TANDEM_INLINE void store_u8(void* p, Words x, int n) {
  _mm_mask_storeu_epi8(p, first_few(n).m, _mm512_cvtepi32_epi8(x.v));
}
/// The first `n` <= 2 * kLanes elements of 16 bits, zeros behind them.
TANDEM_INLINE Words load_halves(const void* p, int n) {
  if (n == 2 * kLanes) return load_words(p);
  return {_mm512_maskz_loadu_epi16(first_halves(n), p)};
}
/// The same of bytes, as elements of 16 bits.
TANDEM_INLINE Words load_wide_u8(const void* p, int n) {
  const auto* const whole = static_cast<const __m256i*>(p);
  return {_mm512_cvtepu8_epi16(n == 2 * kLanes ? _mm256_loadu_si256(whole)
                                               : _mm256_maskz_loadu_epi8(first_halves(n), p))};
}

#else

// Parts of a vector, by way of a whole one on the stack.
TANDEM_INLINE Words load_u16(const void* p, int n) {
  if (n == kLanes) return load_u16(p);
  uint16_t whole[kLanes] = {};
  std::memcpy(whole, p, static_cast<size_t>(n) * 2);
  return load_u16(whole);
}
TANDEM_INLINE Words load_u8(const void* p, int n) {
  if (n == kLanes) return load_u8(p);
  uint8_t whole[kLanes] = {};
  std::memcpy(whole, p, static_cast<size_t>(n));
  return load_u8(whole);
}
/// The low halves of the words.
TANDEM_INLINE void store_u16(void* p, Words x, int n) {
  if (n == kLanes) return store_u16(p, x);
  uint16_t whole[kLanes];
  store_u16(whole, x);
  std::memcpy(p, whole, static_cast<size_t>(n) * 2);
}
/// The low bytes of the words.
TANDEM_INLINE void store_u8(void* p, Words x, int n) {
  if (n == kLanes) return store_u8(p, x);
  uint8_t whole[kLanes];
  store_u8(whole, x);
  std::memcpy(p, whole, static_cast<size_t>(n));
}
/// The first `n` <= 2 * kLanes elements of 16 bits, zeros behind them.
TANDEM_INLINE Words load_halves(const void* p, int n) {
  if (n == 2 * kLanes) return load_words(p);
  uint16_t whole[2 * kLanes] = {};
  std::memcpy(whole, p, static_cast<size_t>(n) * 2);
  return load_words(whole);
}
/// The same of bytes, as elements of 16 bits.
TANDEM_INLINE Words load_wide_u8(const void* p, int n) {
  uint8_t whole[2 * kLanes] = {};
  if (n < 2 * kLanes) p = std::memcpy(whole, p, static_cast<size_t>(n));
#if defined(TANDEM_ISA_AVX2)
  return {_mm256_cvtepu8_epi16(_mm_loadu_si128(static_cast<const __m128i*>(p)))};
#else
  uint8_t bytes[2 * kLanes];
  std::memcpy(bytes, p, sizeof bytes);
  uint16_t wide[2 * kLanes];
  for (int i = 0; i < 2 * kLanes; ++i) wide[i] = bytes[i];
  return load_words(wide);
#endif
}

#endif

/// Two vectors of words from as many 16-bit elements of two: those of `low` in the low halves.
TANDEM_INLINE void interleave_halves(Words low, Words high, Words (&out)[2]) {
#if defined(TANDEM_ISA_AVX512)
  alignas(64) static constexpr uint16_t kTurns[32] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                                      37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                                      11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i turns = _mm512_load_si512(kTurns), a = low.v, b = high.v;
  out[0].v = _mm512_permutex2var_epi16(a, turns, b);
  out[1].v = _mm512_permutex2var_epi16(a, _mm512_add_epi16(turns, _mm512_set1_epi16(16)), b);
#elif defined(TANDEM_ISA_AVX2)
  const __m256i a = low.v, b = high.v;
  const __m256i first = _mm256_unpacklo_epi16(a, b), second = _mm256_unpackhi_epi16(a, b);
  out[0].v = _mm256_permute2x128_si256(first, second, 0x20);
  out[1].v = _mm256_permute2x128_si256(first, second, 0x31);
#else
  constexpr int kBytes = 2 * kLanes;
  char rows[2][2 * kBytes];
  store_words(rows[0], low);
  store_words(rows[1], high);
  for (int v = 0; v < 2; ++v)
    out[v] = load_u16(rows[0] + v * kBytes) | shl<16>(load_u16(rows[1] + v * kBytes));
#endif
}

/// Four vectors of words from as many bytes of four rows: word j of bytes j of each.
TANDEM_INLINE void interleave_bytes(const char* p, int64_t row, Words (&out)[4]) {
#if defined(TANDEM_ISA_AVX512)
  // Fours of columns go to the lanes where the shuffles below, which stay in theirs, leave them.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const auto load = [&](int i) {
    return _mm512_permutexvar_epi32(order, load_words(p + i * row).v);
  };
  const __m512i a = load(0), b = load(1), c = load(2), d = load(3);
  const __m512i low = _mm512_unpacklo_epi8(a, b), low2 = _mm512_unpacklo_epi8(c, d);
  const __m512i high = _mm512_unpackhi_epi8(a, b), high2 = _mm512_unpackhi_epi8(c, d);
  out[0].v = _mm512_unpacklo_epi16(low, low2);
  out[1].v = _mm512_unpackhi_epi16(low, low2);
  out[2].v = _mm512_unpacklo_epi16(high, high2);
  out[3].v = _mm512_unpackhi_epi16(high, high2);
#elif defined(TANDEM_ISA_AVX2)
  const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  const auto load = [&](int i) {
    return _mm256_permutevar8x32_epi32(load_words(p + i * row).v, order);
  };
  const __m256i a = load(0), b = load(1), c = load(2), d = load(3);
  const __m256i low = _mm256_unpacklo_epi8(a, b), low2 = _mm256_unpacklo_epi8(c, d);
  const __m256i high = _mm256_unpackhi_epi8(a, b), high2 = _mm256_unpackhi_epi8(c, d);
  out[0].v = _mm256_unpacklo_epi16(low, low2);
  out[1].v = _mm256_unpackhi_epi16(low, low2);
  out[2].v = _mm256_unpacklo_epi16(high, high2);
  out[3].v = _mm256_unpackhi_epi16(high, high2);
#else
  for (int v = 0; v < 4; ++v)
    for (int j = 0; j < kLanes; ++j) {
      char word[4];
      for (int i = 0; i < 4; ++i) word[i] = p[i * row + v * kLanes + j];
      std::memcpy(&out[v].lane[j], word, 4);
    }
#endif
}

/// One unaligned word in every lane.
TANDEM_INLINE Words spread_from(const void* p) {
  int32_t word;
  std::memcpy(&word, p, 4);
  return spread_word(word);
}

/// bfloat16 in the low halves, rounded to nearest even; a NaN stays one.
TANDEM_INLINE Words to_bf16(Lanes x) {
  const Words w = as_words(x);
  const Words high = shr_unsigned<16>(w);
  const Words rounded = shr_unsigned<16>(w + spread_word(0x7fff) + (high & spread_word(1)));
  return where_nan(x, high | spread_word(0x40), rounded);
}
TANDEM_INLINE Lanes load_bf16(const void* p) { return as_lanes(shl<16>(load_u16(p))); }
TANDEM_INLINE Lanes load_bf16(const void* p, int n) { return as_lanes(shl<16>(load_u16(p, n))); }
TANDEM_INLINE void store_bf16(void* p, Lanes x) { store_u16(p, to_bf16(x)); }
TANDEM_INLINE void store_bf16(void* p, Lanes x, int n) { store_u16(p, to_bf16(x), n); }

}  // namespace tandem::cpu::TANDEM_ISA_NS
