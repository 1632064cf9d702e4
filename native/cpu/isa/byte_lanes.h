// Signed bytes in words: their sums, and floats of them, which products of floats with weights of
// bytes read.
#pragma once

#include "cpu/isa/words.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// Words of `bytes` bytes each, 2 or 4.
template <int bytes>
TANDEM_INLINE Words load_byte_words(const char* p) {
  if constexpr (bytes == 4) {
    return load_words(p);
  } else {
    return load_u16(p);
  }
}

/// Byte `at` of each word.
template <int at>
TANDEM_INLINE Lanes byte_lanes(Words w) {
#if defined(TANDEM_ISA_SCALAR)
  const Words sign = spread_word(0x80);
  return to_lanes(((shr_unsigned<8 * at>(w) & spread_word(0xff)) ^ sign) - sign);
#else
  return to_lanes(shr_signed<24>(shl<24 - 8 * at>(w)));
#endif
}

/// The sum of the bytes of each word.
TANDEM_INLINE Words sum_of_bytes(Words w) {
#if defined(TANDEM_ISA_AVX512)
  const __m512i pairs = _mm512_maddubs_epi16(_mm512_set1_epi8(1), w.v);
  return {_mm512_madd_epi16(pairs, _mm512_set1_epi16(1))};
#elif defined(TANDEM_ISA_AVX2)
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), w.v);
  return {_mm256_madd_epi16(pairs, _mm256_set1_epi16(1))};
#else
  for (int32_t& lane : w.lane) {
    int8_t bytes[4];
    std::memcpy(bytes, &lane, 4);
    lane = bytes[0] + bytes[1] + bytes[2] + bytes[3];
  }
  return w;
#endif
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
