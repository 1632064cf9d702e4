// Register kernels of the matrix product in float.
#include "cpu/isa/gemm_alike.h"
#include "cpu/isa/gemm_finish.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

TANDEM_INLINE const float* floats(const char* p) { return reinterpret_cast<const float*>(p); }

struct F32 {
  using Sum = Lanes;
  using Operand = Lanes;
  static constexpr int kParts = 1, kWordBytes = 4;
  static constexpr bool kHasFirst = true;

  TANDEM_INLINE Operand a(const char* p, int /*part*/) { return spread(*floats(p)); }
  TANDEM_INLINE Operand b(const char* p, int /*part*/) { return load_lanes(floats(p)); }
  TANDEM_INLINE Operand b(const char* p, int /*part*/, int columns) {
    return load_lanes(floats(p), columns);
  }
  TANDEM_INLINE Sum dot(Operand a, Operand b, Sum sum) { return fma(a, b, sum); }
  TANDEM_INLINE Sum first(Operand a, Operand b) { return a * b; }

  template <int M, int N>
  TANDEM_INLINE void finish(const MicroArgs& t, Sum (&acc)[M][N]) {
    finish_floats<FloatsAlone>(t, acc);
  }
};

// Several rows take what the processor would bring of B at a time: it waits less where a part of B
// that is a good many words ahead is asked for. One row waits for the memory all the same.
struct F32Ahead : F32 {
  static constexpr int kAhead = 8192;  // bytes
  TANDEM_INLINE Operand b(const char* p, int part) {
    __builtin_prefetch(p + kAhead);
    return F32::b(p, part);
  }
  TANDEM_INLINE Operand b(const char* p, int part, int columns) {
    __builtin_prefetch(p + kAhead);
    return F32::b(p, part, columns);
  }
};

constexpr MicroKernel kMicro[4 * kPanelRows] = TANDEM_MICRO_KERNELS(F32);

constexpr MicroKernel kAlike[4 * kAlikeRows] = TANDEM_ALIKE_KERNELS(F32Ahead);

bool always() { return true; }

}  // namespace

const GemmKernels kF32Kernels = {.name = "f32",
                                 .available = always,
                                 .type = GEMM_F32,
                                 .group = 1,
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
                                 .micro = kMicro,
                                 .alike = kAlike,
                                 .few_rows = 0,
                                 .for_few_rows = nullptr,
                                 .state_bytes = 0,
                                 .begin = nullptr,
                                 .settle = nullptr,
                                 .flush = nullptr,
                                 .end = nullptr};

}  // namespace tandem::cpu::TANDEM_ISA_NS
