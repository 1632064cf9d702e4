// The pieces that the tiles of a matrix product are made of, between the files gemm_*.cpp.
#pragma once

#include "cpu/gemm.h"
#include "cpu/isa/lanes.h"
#include "cpu/isa/tiles.h"

TANDEM_GEMM_DECLARE(TANDEM_ISA_NS)

namespace tandem::cpu::TANDEM_ISA_NS {

// Rows of a panel of A, and the rows that kernels of 4 and of 8 vectors of columns serve.
#if defined(TANDEM_ISA_AVX512)
// 14 x 2 accumulators, two vectors of B and one of A leave one register of 32 free.
inline constexpr int kPanelRows = 14, kWide4Rows = 6, kWide8Rows = 2;
#elif defined(TANDEM_ISA_AVX2)
inline constexpr int kPanelRows = 6, kWide4Rows = 2, kWide8Rows = 1;
#else
inline constexpr int kPanelRows = 4, kWide4Rows = 1, kWide8Rows = 0;
#endif
inline constexpr int kPanelColumns = 2 * kLanes;  // of a panel of B

// Start of part i when `total` is cut in `parts` that differ by one at most.
TANDEM_INLINE int64_t part_start(int64_t total, int64_t parts, int64_t i) {
  return (total / parts) * i + least(total % parts, i);
}

// One piece of C in registers: M rows, N vectors of columns, summed over k.
struct MicroArgs {
  const float* a;
  int64_t a_row, a_k;
  const float* b;  // vectors 2i and 2i+1 of a row of B start at b + i * b_pair
  int64_t b_pair, b_k;
  int64_t k;
  float* c;
  int64_t c_row;
  const float* add;  // earlier sum, same stride as C; or null
  int64_t add_row;
  const float* bias;  // of these columns; or null
  float floor;        // 0 for relu, -infinity otherwise
  int columns;        // of the N * kLanes, those that exist
};

using MicroKernel = void (*)(const MicroArgs&);

// Widths of 1, 2, 4 and 8 vectors; the wide ones for few rows only, which would leave the FMA
// units waiting for their own results otherwise. A width of 1 loads only the columns that
// exist, the others load all of their columns.
extern const MicroKernel kMicroKernels[4][kPanelRows];

// Row stride of a packed panel of A: whole vectors, so that stores stay in one cache line.
inline constexpr int kPackedRows = (kPanelRows + kLanes - 1) / kLanes * kLanes;

// Panel [k][kPackedRows] from `rows` rows of A.
void pack_a_panel(const float* a, int64_t a_row, int64_t a_col, int64_t rows, int64_t k,
                  float* panel);

// Columns of B as panels [k][kPanelColumns], one after the other, each with all of k; the last
// panel is [k][kLanes] where that is enough. Missing columns are zero. Packs rows [k0, k1) of
// panels [p0, p1).
void pack_b_panels(const float* b, int64_t b_row, int64_t b_col, int64_t n, int64_t k, int64_t p0,
                   int64_t p1, int64_t k0, int64_t k1, float* packed);

// C[rows, columns] = [add +] dot products of rows of A and columns of B, both contiguous in k.
void dot_block(const float* a, int64_t a_row, int64_t rows, const float* b, int64_t b_col,
               int64_t columns, int64_t k, const float* add, int64_t add_row, float* c,
               int64_t c_row);

}  // namespace tandem::cpu::TANDEM_ISA_NS
