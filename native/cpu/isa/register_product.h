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

/// C[rows, columns] = or += A[rows, k] * B[k, columns]; 1 <= rows <= the family's panel_rows, 1 <=
/// k. A and B are made of words, floats or pairs of bfloat16, which k and strides count; C is
/// float. A family of tiles reads all rows of a tile of A, whatever stands behind the last one.
struct PanelProduct {
  const float* a;
  int64_t a_row, a_k;
  int64_t rows, k;
  const float* b;
  float* c;
  int64_t c_row;
  bool accumulate;
  const GemmKernels* kernels = &kF32Kernels;
  void* state = nullptr;  // of the family's kernels, after their `begin`
};

/// A family's kernels on this thread while it lives.
class PanelKernels {
 public:
  PanelKernels(const GemmKernels* kernels, void* state) : kernels_(kernels) {
    if (kernels_ != nullptr && kernels_->begin != nullptr) kernels_->begin(state);
  }
  ~PanelKernels() {
    if (kernels_ != nullptr && kernels_->end != nullptr) kernels_->end();
  }
  PanelKernels(const PanelKernels&) = delete;
  PanelKernels& operator=(const PanelKernels&) = delete;

 private:
  const GemmKernels* kernels_;
};

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
  args.state = p.state;
  return args;
}

/// The widest kernel for this height that `left` columns fill, as its index in a family.
TANDEM_INLINE int panel_width(const PanelProduct& p, int64_t left) {
  if (p.rows <= p.kernels->wide8_rows && left >= 8 * kLanes) return 3;
  if (p.rows <= p.kernels->wide4_rows && left >= 4 * kLanes) return 2;
  return left >= 2 * kLanes ? 1 : 0;
}

TANDEM_INLINE void run_panel(MicroArgs& args, const PanelProduct& p, int64_t j, int width) {
  args.c = reinterpret_cast<char*>(p.c + j);
  args.add = p.accumulate ? args.c : nullptr;
  p.kernels->micro[width * p.kernels->panel_rows + p.rows - 1](args);
}

/// Epilogues that wait are done.
TANDEM_INLINE void finish_panel(const PanelProduct& p) {
  if (p.kernels->flush != nullptr) p.kernels->flush(p.state);
}

/// B as rows in memory, `b_row` floats apart.
TANDEM_INLINE void multiply_rows(const PanelProduct& p, int64_t b_row, int64_t columns) {
  MicroArgs args = panel_args(p);
  args.b_k = b_row * 4;
  args.b_pair = kPanelColumns * 4;
  for (int64_t j = 0; j < columns; j += args.columns) {
    const int width = panel_width(p, columns - j);
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
    if (wanted >= 4 * kLanes) width = panel_width(p, wanted);
    args.columns = kLanes << width;
    if (!whole) args.columns = static_cast<int>(least(args.columns, wanted));
    args.b_k = (pair ? kPanelColumns : kLanes) * 4;
    args.b = reinterpret_cast<const char*>(p.b + j * packed.k) + packed.first * args.b_k;
    run_panel(args, p, j, width);
  }
  finish_panel(p);
}

/// Words of `n` numbers in bfloat16, as many as a family multiplies at a time; zeros fill them up.
TANDEM_INLINE int64_t words_of(const GemmKernels& kernels, int64_t n) {
  return round_up(ceil_div(n, 2), kernels.k_step);
}
/// Words between rows of words: whole vectors, and no two rows a multiple of 4 KiB apart.
TANDEM_INLINE int64_t word_row(int64_t n) { return round_up(ceil_div(n, 2), kLanes) + 16; }

/// `rows` rows of A[rows, k] as rows of words, word_row(k) apart.
TANDEM_INLINE void round_rows(const GemmKernels& kernels, const Rows& a, int64_t rows, int64_t k,
                              float* words) {
  kernels.rounding->along_rows(a.data, a.stride, rows, k, words_of(kernels, k),
                               reinterpret_cast<char*>(words), word_row(k) * 4);
}

/// The same of the columns of A[k, columns].
TANDEM_INLINE void round_columns(const GemmKernels& kernels, const Rows& a, int64_t columns,
                                 int64_t k, float* words) {
  const int64_t row = word_row(k);
  for (int64_t j = 0; j < columns; j += kLanes)
    for (int64_t w = 0; w < words_of(kernels, k); w += kLanes)
      kernels.rounding->square(a.data + 2 * w * a.stride + j, a.stride, least(columns - j, kLanes),
                               k - 2 * w, reinterpret_cast<char*>(words + j * row + w), row * 4);
}

/// Panels of words of B[k, columns], whose rows lie in memory.
TANDEM_INLINE void round_panels(const GemmKernels& kernels, const Rows& b, int64_t k,
                                int64_t columns, float* panels) {
  constexpr int64_t kRow = kPanelColumns * 4;
  const int64_t words = words_of(kernels, k);
  const int64_t full = columns / kPanelColumns;
  auto* out = reinterpret_cast<char*>(panels);
  kernels.rounding->across_rows(b.data, b.stride, k, words, out,
                                {full, kPanelColumns, kRow, words * kRow});
  const int64_t left = columns - full * kPanelColumns;
  if (left == 0) return;
  kernels.rounding->across_rows(b.data + full * kPanelColumns, b.stride, k, words,
                                out + full * words * kRow,
                                {1, left, round_up(left, kLanes) * 4, 0});
}

/// Panels of words of B[k, columns], whose columns lie in memory as rows.
TANDEM_INLINE void round_transposed_panels(const GemmKernels& kernels, const Rows& b, int64_t k,
                                           int64_t columns, float* panels) {
  const int64_t words = words_of(kernels, k);
  for (int64_t j = 0; j < columns; j += kPanelColumns) {
    const int64_t left = least(columns - j, kPanelColumns);
    const int64_t row = round_up(left, kLanes) * 4;
    for (int64_t i = 0; i < left; i += kLanes) {
      kernels.rounding->transposed(b.data + (j + i) * b.stride, b.stride, least(left - i, kLanes),
                                   k, words, reinterpret_cast<char*>(panels + j * words + i), row);
    }
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
