// Small matrix products straight on the register kernels of float or bfloat16: one panel of rows at
// a time, for kernels that multiply what they have just computed (attention).
#pragma once

#include "cpu/isa/gemm_families.h"
#include "cpu/isa/gemm_kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// Rows of a matrix in memory; `stride` counts floats.
struct Rows {
  float* data;
  int64_t stride;
};

/// C[rows, columns] = or += A[rows, k] * B[k, columns]; 1 <= rows <= kPanelRows, 1 <= k. A and B
/// are made of words, floats or pairs of bfloat16, which k and strides count; C is float.
struct PanelProduct {
  const float* a;
  int64_t a_row, a_k;
  int64_t rows, k;
  const float* b;
  float* c;
  int64_t c_row;
  bool accumulate;
  const MicroKernel* micro = kF32Kernels.micro;  // of a family whose kernels take panels
};

/// The best family of bfloat16 whose kernels take panels of any height and sums of any length.
/// Tile registers want 16 rows and 16 words at a time, more than a panel of scores has.
TANDEM_INLINE const GemmKernels* panel_kernels() {
  const GemmKernels* const* all = gemm_kernels(GEMM_BF16);
  while (!(*all)->available() || !(*all)->a_panels) ++all;
  return *all;
}

TANDEM_INLINE MicroArgs panel_args(const PanelProduct& p) {
  MicroArgs args = {};
  args.a = args.next = reinterpret_cast<const char*>(p.a);
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
  p.micro[width * kPanelRows + p.rows - 1](args);
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

/// What panels hold altogether. A product may want the first columns and, from `first` on, some
/// words of k.
struct Packed {
  int64_t columns, k;
  int64_t first = 0;
};

/// B as panels of pack_b_panels or of those below. `whole`: writes whole vectors of C, so that its
/// rows must have room for them.
TANDEM_INLINE void multiply_packed(const PanelProduct& p, const Packed& packed, int64_t columns,
                                   bool whole = true) {
  MicroArgs args = panel_args(p);
  args.b_pair = kPanelColumns * packed.k * 4;
  for (int64_t j = 0; j < columns; j += args.columns) {
    // the last panel is one vector wide where that is enough
    const int64_t wanted = columns - j;
    const bool pair = packed.columns - j > kLanes;
    int width = pair && wanted > kLanes ? 1 : 0;
    if (wanted >= 4 * kLanes) width = panel_width(p.rows, wanted);
    args.columns = kLanes << width;
    if (!whole) args.columns = static_cast<int>(least(args.columns, wanted));
    args.b_k = (pair ? kPanelColumns : kLanes) * 4;
    args.b = reinterpret_cast<const char*>(p.b + j * packed.k) + packed.first * args.b_k;
    run_panel(args, p, j, width);
  }
}

/// Words of `n` numbers in bfloat16.
TANDEM_INLINE int64_t words_of(int64_t n) { return ceil_div(n, 2); }
/// Words between rows of words: whole vectors, and no two rows a multiple of 4 KiB apart.
TANDEM_INLINE int64_t word_row(int64_t n) { return round_up(words_of(n), kLanes) + 16; }

/// `rows` rows of A[rows, k] as rows of words, word_row(k) apart.
TANDEM_INLINE void round_rows(const GemmRounding& rounding, const Rows& a, int64_t rows, int64_t k,
                              float* words) {
  rounding.along_rows(a.data, a.stride, rows, k, words_of(k), reinterpret_cast<char*>(words),
                      word_row(k) * 4);
}

/// Panels of words of B[k, columns], whose rows lie in memory.
TANDEM_INLINE void round_panels(const GemmRounding& rounding, const Rows& b, int64_t k,
                                int64_t columns, float* panels) {
  constexpr int64_t kRow = kPanelColumns * 4;
  const int64_t words = words_of(k);
  const int64_t full = columns / kPanelColumns;
  auto* out = reinterpret_cast<char*>(panels);
  rounding.across_rows(b.data, b.stride, k, words, out, {full, kPanelColumns, kRow, words * kRow});
  const int64_t left = columns - full * kPanelColumns;
  if (left == 0) return;
  rounding.across_rows(b.data + full * kPanelColumns, b.stride, k, words, out + full * words * kRow,
                       {1, left, round_up(left, kLanes) * 4, 0});
}

/// Panels of words of B[k, columns], whose columns lie in memory as rows.
TANDEM_INLINE void round_transposed_panels(const GemmRounding& rounding, const Rows& b, int64_t k,
                                           int64_t columns, float* panels) {
  const int64_t words = words_of(k);
  for (int64_t j = 0; j < columns; j += kPanelColumns) {
    const int64_t left = least(columns - j, kPanelColumns);
    const int64_t row = round_up(left, kLanes) * 4;
    for (int64_t i = 0; i < left; i += kLanes) {
      rounding.transposed(b.data + (j + i) * b.stride, b.stride, least(left - i, kLanes), k, words,
                          reinterpret_cast<char*>(panels + j * words + i), row);
    }
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
