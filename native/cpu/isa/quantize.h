// From float to bytes: round to nearest even, add the zero point, saturate.
#pragma once

#include "cpu/isa/words.h"

namespace tandem::cpu::TANDEM_ISA_NS {

struct Quantizer {
  Lanes low, high;  // bounds of the type less the zero point
  Words zero;
};

/// Values in units of the scale; the byte is in the low bits of each word. NaN becomes the lower
/// bound.
TANDEM_INLINE Words quantize(const Quantizer& q, Lanes x) {
  const Lanes bounded = lesser_of(greater_of(x, q.low), q.high);
  return to_words(bounded) + q.zero;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
