// Rounding to bfloat16 with AVX512-BF16, of results and of operands.
#pragma once

#include "cpu/isa/gemm_finish.h"
#include "cpu/isa/gemm_round.h"

namespace tandem::cpu::TANDEM_ISA_NS {

// One instruction rounds two vectors; it takes denormals as zero, too.
struct RoundingPairs {
  static constexpr bool kRounds = true;

  template <int N>
  TANDEM_INLINE void store_vectors(char* p, const Lanes (&v)[N]) {
    if constexpr (N == 1) {
      store_bf16(p, v[0]);
    } else {
#pragma GCC unroll 4
      for (int j = 0; j < N; j += 2)
        store_words(p + j * kLanes * 2, {(__m512i)_mm512_cvtne2ps_pbh(v[j + 1].v, v[j].v)});
    }
  }
};

// Operands that are rounded as they are packed.
struct RoundOperands {
  TANDEM_INLINE Words row(Lanes first, Lanes second) {
    return {(__m512i)_mm512_cvtne2ps_pbh(second.v, first.v)};
  }
  TANDEM_INLINE Words pairs(Lanes low, Lanes high) {
    alignas(64) static constexpr uint16_t kTurns[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                        21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                        11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return {_mm512_permutexvar_epi16(_mm512_load_si512(kTurns), row(low, high).v)};
  }
};

}  // namespace tandem::cpu::TANDEM_ISA_NS
