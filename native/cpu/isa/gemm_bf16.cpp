// Register kernels of bfloat16 without instructions for it: the halves of a word become floats by
// a shift and a mask, and are multiplied one after the other.
#include "cpu/isa/gemm_finish.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

// The words of more rows, kept for their other half, would leave too few registers for the sums.
#if defined(TANDEM_ISA_AVX512)
constexpr int kBestRows = 8;
#else
constexpr int kBestRows = 4;
#endif

TANDEM_INLINE Lanes half_of(Words pair, int part) {
  return as_lanes(part == 0 ? shl<16>(pair) : pair & spread_word(static_cast<int32_t>(0xffff0000)));
}

struct Bf16 {
  using Sum = Lanes;
  using Operand = Lanes;
  static constexpr int kParts = 2, kWordBytes = 4;
  static constexpr bool kHasFirst = true;

  TANDEM_INLINE Operand a(const char* p, int part) { return half_of(spread_from(p), part); }
  TANDEM_INLINE Operand b(const char* p, int part) { return half_of(load_words(p), part); }
  TANDEM_INLINE Operand b(const char* p, int part, int /*columns*/) { return b(p, part); }
  TANDEM_INLINE Sum dot(Operand a, Operand b, Sum sum) { return fma(a, b, sum); }
  TANDEM_INLINE Sum first(Operand a, Operand b) { return a * b; }
  template <int M, int N>
  TANDEM_INLINE void finish(const MicroArgs& t, Sum (&acc)[M][N]) {
    finish_floats<Rounding>(t, acc);
  }
};

constexpr MicroKernel kMicro[4 * kPanelRows] = TANDEM_MICRO_KERNELS(Bf16);

bool always() { return true; }

}  // namespace

const GemmKernels kBf16Kernels = {.name = "bf16",
                                  .available = always,
                                  .type = GEMM_BF16,
                                  .group = 2,
                                  .k_step = 1,
                                  .fills_k = true,
                                  .steps_per_word = 2.5,
                                  .a_word = 4,
                                  .b_word = 4,
                                  .a_in_place = true,
                                  .a_panels = true,
                                  .rounding = &kBf16Rounding,
                                  .panel_rows = kPanelRows,
                                  .wide4_rows = kWide4Rows,
                                  .wide8_rows = kWide8Rows,
                                  .best_rows = kBestRows,
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
