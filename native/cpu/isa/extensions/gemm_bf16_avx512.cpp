// Register kernels of bfloat16 with AVX512-BF16: one instruction multiplies pairs and adds them to
// a float. It takes denormal operands as zero.
#include "cpu/cpu_features.h"
#include "cpu/isa/gemm_finish.h"
#include "cpu/isa/gemm_round.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

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

struct Bf16Dot {
  using Sum = Lanes;
  using Operand = Words;
  static constexpr int kParts = 1, kWordBytes = 4;
  static constexpr bool kHasFirst = false;

  TANDEM_INLINE Sum start(const MicroArgs& /*t*/, int /*j*/) { return spread(0.0F); }
  TANDEM_INLINE Operand a(const char* p, int /*part*/) { return spread_from(p); }
  TANDEM_INLINE Operand b(const char* p, int /*part*/) { return load_words(p); }
  TANDEM_INLINE Operand b(const char* p, int /*part*/, int /*columns*/) { return load_words(p); }
  TANDEM_INLINE Sum dot(Operand a, Operand b, Sum sum) {
    return {_mm512_dpbf16_ps(sum.v, (__m512bh)a.v, (__m512bh)b.v)};
  }
  template <int M, int N>
  TANDEM_INLINE void finish(const MicroArgs& t, Sum (&acc)[M][N]) {
    finish_floats<RoundingPairs>(t, acc);
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

constexpr GemmRounding kRounding = rounding_of<RoundOperands>();

constexpr MicroKernel kMicro[4 * kPanelRows] = TANDEM_MICRO_KERNELS(Bf16Dot);

}  // namespace

const GemmKernels kBf16DotKernels = {.name = "avx512_bf16",
                                     .available = has_avx512_bf16,
                                     .type = GEMM_BF16,
                                     .group = 2,
                                     .k_step = 1,
                                     .steps_per_word = 1,
                                     .a_word = 4,
                                     .b_word = 4,
                                     .a_in_place = true,
                                     .a_panels = true,
                                     .rounding = &kRounding,
                                     .panel_rows = kPanelRows,
                                     .wide4_rows = kWide4Rows,
                                     .wide8_rows = kWide8Rows,
                                     .best_rows = kPanelRows,
                                     .row_unit = 1,
                                     .keeps_sums = false,
                                     .micro = kMicro,
                                     .begin = nullptr,
                                     .end = nullptr};

}  // namespace tandem::cpu::TANDEM_ISA_NS
