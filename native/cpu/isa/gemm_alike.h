// Register kernels for a few rows that sum each row as the kernel of one row does: over the same
// words in the same order, in as many chains as one row needs to hide the latency of its sums. They
// take the columns that one row would take at a time, in pieces that fit the registers.
#pragma once

#include "cpu/isa/gemm_micro.h"

namespace tandem::cpu::TANDEM_ISA_NS {

#if defined(TANDEM_ISA_AVX512)
inline constexpr int kRegisters = 32;
#else
inline constexpr int kRegisters = 16;
#endif

// The sums, a word of B and one of A. The sums of the first word wait elsewhere.
constexpr bool fit_registers(int rows, int vectors, int chains) {
  return chains * rows * vectors + vectors + 1 <= kRegisters;
}

// `t` for rows from `row` on, of which there are `rows`.
TANDEM_INLINE MicroArgs rows_of(const MicroArgs& t, int row, int rows) {
  MicroArgs part = t;
  part.a += row * t.a_row;
  part.c += row * t.c_row;
  if (t.add) part.add += row * t.add_row;
  part.rows = rows;
  return part;
}

// `t` for the columns of `vectors` vectors behind as many, which all exist.
TANDEM_INLINE MicroArgs second_half(const MicroArgs& t, int vectors) {
  const int64_t columns = int64_t{vectors} * kLanes;
  MicroArgs part = t;
  part.b += vectors == 1 ? columns * 4 : vectors / 2 * t.b_pair;
  part.c += columns * 4;
  if (t.add) part.add += columns * 4;
  if (t.bias) part.bias += columns;
  return part;
}

template <typename Family, int M, int N, int kChains>
static void alike(const MicroArgs& t) {
  if constexpr (M == 1) {
    micro<Family, 1, N, kChains>(t);
  } else if (t.columns < N * kLanes) {
    // Their epilogue is that of a piece that ends within its vectors.
    for (int i = 0; i < M; ++i) micro<Family, 1, N, chains_of(N)>(rows_of(t, i, 1));
  } else if constexpr (fit_registers(M, N, kChains)) {
    micro<Family, M, N, kChains>(t);
  } else if constexpr (N > 1) {
    MicroArgs half = t;
    half.columns = N / 2 * kLanes;
    alike<Family, M, N / 2, kChains>(half);
    alike<Family, M, N / 2, kChains>(second_half(half, N / 2));
  } else {
    constexpr int kFirst = (M + 1) / 2;
    alike<Family, kFirst, N, kChains>(rows_of(t, 0, kFirst));
    alike<Family, M - kFirst, N, kChains>(rows_of(t, kFirst, M - kFirst));
  }
}

// Widths that one row does not come in stay null.
template <typename Family, int M, int N>
constexpr MicroKernel pick_alike() {
  constexpr int kLimit = N == 8 ? kWide8Rows : N == 4 ? kWide4Rows : kPanelRows;
  if constexpr (kLimit > 0)
    return alike<Family, M, N, chains_of(N)>;
  else
    return nullptr;
}

#define TANDEM_ALIKE_ROWS(F, N) \
  pick_alike<F, 1, N>(), pick_alike<F, 2, N>(), pick_alike<F, 3, N>(), pick_alike<F, 4, N>()

// The kernels of a family of floats, in the order that GemmKernels wants.
#define TANDEM_ALIKE_KERNELS(F)                                               \
  {TANDEM_ALIKE_ROWS(F, 1), TANDEM_ALIKE_ROWS(F, 2), TANDEM_ALIKE_ROWS(F, 4), \
   TANDEM_ALIKE_ROWS(F, 8)}

}  // namespace tandem::cpu::TANDEM_ISA_NS
