// Register kernels of int8 with an instruction that multiplies four pairs of bytes and adds them to
// an int32 without saturating on the way. Included once for AVX-512 and once for AVX2.
#pragma once

#include "cpu/isa/gemm_finish.h"

namespace tandem::cpu::TANDEM_ISA_NS {

struct S8Vnni {
  using Sum = Words;
  using Operand = Words;
  static constexpr int kParts = 1, kWordBytes = 4;
  static constexpr bool kHasFirst = false;

  TANDEM_INLINE Sum start(const MicroArgs& t, int j) { return start_integers(t, j); }
  TANDEM_INLINE Operand a(const char* p, int /*part*/) { return spread_from(p); }
  TANDEM_INLINE Operand b(const char* p, int /*part*/) { return load_words(p); }
  TANDEM_INLINE Operand b(const char* p, int /*part*/, int /*columns*/) { return load_words(p); }
  TANDEM_INLINE Sum dot(Operand a, Operand b, Sum sum) {
#if defined(TANDEM_ISA_AVX512)
    return {_mm512_dpbusd_epi32(sum.v, a.v, b.v)};
#else
    return {_mm256_dpbusd_avx_epi32(sum.v, a.v, b.v)};
#endif
  }
  template <int M, int N>
  TANDEM_INLINE void finish(const MicroArgs& t, Sum (&acc)[M][N]) {
    finish_integers(t, acc);
  }
};

static constexpr MicroKernel kVnniMicro[4 * kPanelRows] = TANDEM_MICRO_KERNELS(S8Vnni);

static constexpr GemmKernels vnni_kernels(const char* name, bool (*available)()) {
  return {.name = name,
          .available = available,
          .type = GEMM_S8,
          .group = 4,
          .k_step = 1,
          .fills_k = true,
          .steps_per_word = 1,
          .a_word = 4,
          .b_word = 4,
          .a_in_place = true,
          .a_panels = true,
          .rounding = nullptr,
          .panel_rows = kPanelRows,
          .wide4_rows = kWide4Rows,
          .wide8_rows = kWide8Rows,
          .best_rows = kPanelRows,
          .row_unit = 1,
          .splits = false,
          .keeps_sums = false,
          .micro = kVnniMicro,
          .alike = nullptr,
          .few_rows = 0,
          .for_few_rows = nullptr,
          .state_bytes = 0,
          .begin = nullptr,
          .settle = nullptr,
          .flush = nullptr,
          .end = nullptr};
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
