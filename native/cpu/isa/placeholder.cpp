#include "cpu/placeholder.h"

#if defined(TANDEM_ISA_AVX512)
#include <immintrin.h>
#endif

namespace tandem::cpu::TANDEM_ISA_NS {

float sum(const float* x, int count) {
  int i = 0;
  float total = 0.0F;
#if defined(TANDEM_ISA_AVX512)
  __m512 wide = _mm512_setzero_ps();
  for (; i + 16 <= count; i += 16) wide = _mm512_add_ps(wide, _mm512_loadu_ps(x + i));
  total = _mm512_reduce_add_ps(wide);
#endif
  for (; i < count; ++i) total += x[i];
  return total;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
