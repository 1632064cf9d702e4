// Small matrix products in float, straight on the register kernels: one panel of rows at a time,
// for kernels that multiply what they have just computed (attention).
#pragma once

#include "cpu/isa/gemm_families.h"
#include "cpu/isa/gemm_kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// C[rows, columns] = or += A[rows, k] * B[k, columns]; 1 <= rows <= kPanelRows, 1 <= k. Strides
/// count floats.
struct PanelProduct {
  const float* a;
  int64_t a_row, a_k;
  int64_t rows, k;
  const float* b;
  float* c;
  int64_t c_row;
  bool accumulate;
};

TANDEM_INLINE MicroArgs panel_args(const PanelProduct& p) {
  MicroArgs args = {};
  args.a = reinterpret_cast<const char*>(p.a);
  args.a_row = p.a_row * 4;
  args.a_k = p.a_k * 4;
  args.k = p.k;
  args.c_row = p.c_row * 4;
  args.add_row = p.c_row * 4;
  args.c_type = GEMM_TO_F32;
  args.floor = -__builtin_inff();
  args.rows = static_cast<int>(p.rows);
  return args;
}

/// The widest kernel for this height that `left` columns fill, as its index in a family.
TANDEM_INLINE int panel_width(int64_t rows, int64_t left) {
  if (rows <= kWide8Rows && left >= 8 * kLanes) return 3;
  if (rows <= kWide4Rows && left >= 4 * kLanes) return 2;
  return left >= 2 * kLanes ? 1 : 0;
}

TANDEM_INLINE void run_panel(MicroArgs& args, const PanelProduct& p, int64_t j, int width) {
  args.c = reinterpret_cast<char*>(p.c + j);
  args.add = p.accumulate ? args.c : nullptr;
  kF32Kernels.micro[width * kPanelRows + p.rows - 1](args);
}

/// B as rows in memory, `b_row` floats apart.
TANDEM_INLINE void multiply_rows(const PanelProduct& p, int64_t b_row, int64_t columns) {
  MicroArgs args = panel_args(p);
  args.b_k = b_row * 4;
  args.b_pair = kPanelColumns * 4;
  for (int64_t j = 0; j < columns; j += args.columns) {
    const int width = panel_width(p.rows, columns - j);
    args.columns = static_cast<int>(least(columns - j, int64_t{kLanes} << width));
    args.b = reinterpret_cast<const char*>(p.b + j);
    run_panel(args, p, j, width);
  }
}

/// B as panels of pack_b_panels with `packed` columns altogether, of which the first `columns` are
/// wanted. Writes whole vectors of C, so that its rows must have room for them.
TANDEM_INLINE void multiply_packed(const PanelProduct& p, int64_t packed, int64_t columns) {
  MicroArgs args = panel_args(p);
  args.b_pair = kPanelColumns * p.k * 4;
  for (int64_t j = 0; j < columns; j += args.columns) {
    // the last panel is one vector wide where that is enough
    const int64_t wanted = columns - j;
    const bool pair = packed - j > kLanes;
    int width = pair && wanted > kLanes ? 1 : 0;
    if (wanted >= 4 * kLanes) width = panel_width(p.rows, wanted);
    args.columns = kLanes << width;
    args.b_k = (pair ? kPanelColumns : kLanes) * 4;
    args.b = reinterpret_cast<const char*>(p.b + j * p.k);
    run_panel(args, p, j, width);
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
