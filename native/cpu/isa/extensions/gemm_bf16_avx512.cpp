// Register kernels of bfloat16 with AVX512-BF16: one instruction multiplies pairs and adds them to
// a float. It takes denormal operands as zero.
#include "cpu/cpu_features.h"
#include "cpu/isa/extensions/round_bf16_avx512.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

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

constexpr GemmRounding kRounding = rounding_of<RoundOperands>();

constexpr MicroKernel kMicro[4 * kPanelRows] = TANDEM_MICRO_KERNELS(Bf16Dot);

}  // namespace

const GemmKernels kBf16DotKernels = {.name = "avx512_bf16",
                                     .available = has_avx512_bf16,
                                     .type = GEMM_BF16,
                                     .group = 2,
                                     .k_step = 1,
                                     .fills_k = true,
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
                                     .splits = false,
                                     .keeps_sums = false,
                                     .micro = kMicro,
                                     .alike = nullptr,
                                     .few_rows = 0,
                                     .for_few_rows = nullptr,
                                     .state_bytes = 0,
                                     .begin = nullptr,
                                     .settle = nullptr,
                                     .flush = nullptr,
                                     .end = nullptr};

}  // namespace tandem::cpu::TANDEM_ISA_NS
