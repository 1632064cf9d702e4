// What tiles of a matrix product and their epilogues by rows know of a block of C.
#pragma once

#include "cpu/isa/gemm_kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

struct GemmBlock {
  int64_t i0, i1;     // row panels, or rows of a dot product
  int64_t j0, j1;     // columns
  int64_t first_row;  // of this matrix among the rows of the whole batch
  const char* a;
  const char* b;        // the matrix, or packed panels
  const int32_t* sums;  // of the columns of packed panels, for GEMM_S8
  int64_t packed_j0;    // first column of those
  char* c;
  char* pre;
  const char* saved;
  const char* residual;
};

// Epilogues that work on whole rows, while they are in L1.
TANDEM_INLINE bool needs_rows(const GemmBlock& t, const GemmEpilogue& e) {
  return t.pre || e.activation == GEMM_ACT_APPLY || e.apply_grad;
}

// The bounds of value * c_inverse between which C does not saturate.
TANDEM_INLINE void set_bounds(MicroArgs& args, const GemmEpilogue& e, bool relu) {
  const int low = args.c_type == GEMM_TO_S8 ? -128 : 0;
  args.c_low = static_cast<float>(low - e.c_zero);
  args.c_high = static_cast<float>(low + 255 - e.c_zero);
  if (relu && args.c_low < 0.0F) args.c_low = 0.0F;
}

TANDEM_INLINE float relu_floor(bool relu) { return relu ? 0.0F : -__builtin_inff(); }

void finish_rows(const GemmPlan& plan, const GemmBlock& t, const GemmEpilogue& e, int64_t row,
                 int64_t rows);

// The same where C is not float: `stage` holds the values, with room for one more row behind them.
void finish_staged_rows(const GemmPlan& plan, const GemmBlock& t, const GemmEpilogue& e,
                        int64_t row, int64_t rows, float* stage);

}  // namespace tandem::cpu::TANDEM_ISA_NS
