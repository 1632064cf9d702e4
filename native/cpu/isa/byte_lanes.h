// Signed bytes in words as floats: what products of floats with weights of bytes read.
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

}  // namespace tandem::cpu::TANDEM_ISA_NS
