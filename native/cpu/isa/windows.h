// Windows that slide over the rows of planes: which pixels a tap reaches, and vectors of pixels of
// which only some lanes exist or that lie some steps apart.
#pragma once

#include "cpu/isa/lanes.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// The taps along an axis: tap i reads position p * stride + first + i * step for pixel p.
struct WindowTaps {
  int64_t count, stride, first, step;
};

/// The pixels of an output row whose tap `i` reads within a plane of `size`: [begin, end).
struct PixelRange {
  int64_t begin, end;
};
TANDEM_INLINE PixelRange pixels_within(const WindowTaps& taps, int64_t i, int64_t size,
                                       int64_t pixels) {
  const int64_t at = taps.first + i * taps.step;
  int64_t begin = at >= 0 ? 0 : -at, end = at >= size ? 0 : size - at;
  if (taps.stride != 1) {
    begin = ceil_div(begin, taps.stride);
    end = ceil_div(end, taps.stride);
  }
  return {begin, most(begin, least(end, pixels))};
}

#if defined(TANDEM_ISA_AVX512)

TANDEM_INLINE Lanes load_lanes_of(const float* p, uint32_t lanes) {
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>(lanes), p)};
}
/// Lane l from p[l * stride]; 16 strides fit an int.
TANDEM_INLINE Lanes load_strided(const float* p, uint32_t lanes, int64_t stride) {
  if (stride == 2) {
    const uint32_t even = _pdep_u32(lanes, 0x55555555U);
    const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(even), p);
    const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(even >> 16), p + 16);
    const __m512i index =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return {_mm512_permutex2var_ps(low, index, high)};
  }
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i index = _mm512_mullo_epi32(lane, _mm512_set1_epi32(static_cast<int>(stride)));
  return {
      _mm512_mask_i32gather_ps(_mm512_setzero_ps(), static_cast<__mmask16>(lanes), index, p, 4)};
}
TANDEM_INLINE Lanes merge(Lanes a, Lanes b) { return {_mm512_or_ps(a.v, b.v)}; }
TANDEM_INLINE Mask mask_of_lanes(uint32_t lanes) { return {static_cast<__mmask16>(lanes)}; }
TANDEM_INLINE IVec lane_numbers() {
  return {_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)};
}

#elif defined(TANDEM_ISA_AVX2)

TANDEM_INLINE __m256i lane_bits(uint32_t lanes) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i all = _mm256_set1_epi32(static_cast<int>(lanes));
  return _mm256_cmpeq_epi32(_mm256_and_si256(all, bit), bit);
}
TANDEM_INLINE Lanes load_lanes_of(const float* p, uint32_t lanes) {
  return {_mm256_maskload_ps(p, lane_bits(lanes))};
}
TANDEM_INLINE Lanes load_strided(const float* p, uint32_t lanes, int64_t stride) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i index = _mm256_mullo_epi32(lane, _mm256_set1_epi32(static_cast<int>(stride)));
  return {_mm256_mask_i32gather_ps(_mm256_setzero_ps(), p, index,
                                   _mm256_castsi256_ps(lane_bits(lanes)), 4)};
}
TANDEM_INLINE Lanes merge(Lanes a, Lanes b) { return {_mm256_or_ps(a.v, b.v)}; }
TANDEM_INLINE Mask mask_of_lanes(uint32_t lanes) { return {_mm256_castsi256_ps(lane_bits(lanes))}; }
TANDEM_INLINE IVec lane_numbers() { return {_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)}; }

#else

TANDEM_INLINE Lanes load_strided(const float* p, uint32_t lanes, int64_t stride) {
  Lanes x = spread(0.0F);
  for (int i = 0; i < kLanes; ++i)
    if ((lanes >> i & 1U) != 0) x.lane[i] = p[i * stride];
  return x;
}
TANDEM_INLINE Lanes load_lanes_of(const float* p, uint32_t lanes) {
  return load_strided(p, lanes, 1);
}
/// Of lanes of which at most one is not zero.
TANDEM_INLINE Lanes merge(Lanes a, Lanes b) { return a + b; }
TANDEM_INLINE Mask mask_of_lanes(uint32_t lanes) { return mask_of((lanes & 1U) != 0); }
TANDEM_INLINE IVec lane_numbers() { return {0}; }

#endif

/// Adds `lanes` floats to every second one of those at `to`.
#if defined(TANDEM_ISA_AVX512)
TANDEM_INLINE void add_to_pairs(const float* from, int lanes, float* to) {
  const uint32_t even = _pdep_u32((uint32_t{1} << lanes) - 1, 0x55555555U);
  const __m512 x = _mm512_maskz_loadu_ps(static_cast<__mmask16>((uint32_t{1} << lanes) - 1), from);
  const auto add = [&](uint32_t some, const __m512i index, float* p) {
    const auto mask = static_cast<__mmask16>(some);
    const __m512 sum =
        _mm512_add_ps(_mm512_maskz_loadu_ps(mask, p), _mm512_permutexvar_ps(index, x));
    _mm512_mask_storeu_ps(p, mask, sum);
  };
  add(even, _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), to);
  add(even >> 16, _mm512_setr_epi32(8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15),
      to + 16);
}
#elif defined(TANDEM_ISA_AVX2)
TANDEM_INLINE void add_to_pairs(const float* from, int lanes, float* to) {
  const uint32_t even = _pdep_u32((uint32_t{1} << lanes) - 1, 0x5555U);
  const __m256 x = _mm256_maskload_ps(from, lane_bits((uint32_t{1} << lanes) - 1));
  const auto add = [&](uint32_t some, const __m256i index, float* p) {
    const __m256i mask = lane_bits(some);
    const __m256 sum =
        _mm256_add_ps(_mm256_maskload_ps(p, mask), _mm256_permutevar8x32_ps(x, index));
    _mm256_maskstore_ps(p, mask, sum);
  };
  add(even & 0xffU, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3), to);
  add(even >> 8, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7), to + 8);
}
#else
TANDEM_INLINE void add_to_pairs(const float* from, int lanes, float* to) {
  for (int i = 0; i < lanes; ++i) to[2 * i] += from[i];
}
#endif

/// The same for the vectors of vec.h, which have one lane without an instruction set.
TANDEM_INLINE Vec load_vector(const float* p, uint32_t lanes, int64_t stride) {
#if defined(TANDEM_ISA_SCALAR)
  (void)stride;
  return {(lanes & 1U) != 0 ? *p : 0.0F};
#else
  return stride == 1 ? load_lanes_of(p, lanes) : load_strided(p, lanes, stride);
#endif
}

/// Bits of lanes [first, last), of at most 31.
TANDEM_INLINE uint32_t lane_range(int64_t first, int64_t last) {
  return (uint32_t{1} << (last & 31)) - (uint32_t{1} << (first & 31));
}
inline constexpr uint32_t kAllLanes = (uint32_t{1} << kLanes) - 1;

/// The lanes whose pixel `first` + 2 * lane is in [0, size).
TANDEM_INLINE uint32_t lanes_of_pairs(int64_t first, int64_t size, int64_t count) {
  const int64_t begin = first < 0 ? least((1 - first) / 2, count) : 0;
  const int64_t end = first >= size ? 0 : least((size - first + 1) / 2, count);
  return begin < end ? lane_range(begin, end) : 0;
}

/// The lanes of a vector of pixels from `q` on that exist and whose tap `i` reads within a plane.
TANDEM_INLINE uint32_t lanes_within(const WindowTaps& taps, int64_t i, int64_t size, int64_t pixels,
                                    int64_t q) {
  const int64_t count = least(kWidth, pixels - q);
  const int64_t first = q * taps.stride + taps.first + i * taps.step;
  // Divisions only at the ends of a row.
  if (first >= 0 && first + (count - 1) * taps.stride < size) return lane_range(0, count);
  const PixelRange within = pixels_within(taps, i, size, pixels);
  const int64_t begin = most(within.begin - q, 0), end = least(within.end - q, count);
  return begin < end ? lane_range(begin, end) : 0;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
