// The pieces that the tiles of a matrix product are made of, between the files gemm_*.cpp.
#pragma once

#include "../gemm.h"
#include "gemm_vec.h"

TANDEM_GEMM_DECLARE(TANDEM_ISA_NS)

namespace tandem::cpu::TANDEM_ISA_NS {

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
  int columns;        // of the N * W, those that exist
};

typedef void (*MicroKernel)(const MicroArgs&);

// Widths of 1, 2, 4 and 8 vectors; the wide ones for few rows only, which would leave the FMA
// units waiting for their own results otherwise. A width of 1 loads only the columns that
// exist, the others load all of their columns.
extern const MicroKernel micro_kernels[4][MR];

// Row stride of a packed panel of A: whole vectors, so that stores stay in one cache line.
constexpr int A_PANEL = (MR + W - 1) / W * W;

// Panel [k][A_PANEL] from `rows` rows of A.
void pack_a_panel(const float* a, int64_t a_row, int64_t a_col, int64_t rows, int64_t k,
                  float* panel);

// Columns of B as panels [k][NR], one after the other, each with all of k; the last panel is
// [k][W] where that is enough. Missing columns are zero. Packs rows [k0, k1) of panels [p0, p1).
void pack_b_panels(const float* b, int64_t b_row, int64_t b_col, int64_t n, int64_t k, int64_t p0,
                   int64_t p1, int64_t k0, int64_t k1, float* packed);

// C[rows, columns] = [add +] dot products of rows of A and columns of B, both contiguous in k.
void dot_block(const float* a, int64_t a_row, int64_t rows, const float* b, int64_t b_col,
               int64_t columns, int64_t k, const float* add, int64_t add_row, float* c,
               int64_t c_row);

}  // namespace tandem::cpu::TANDEM_ISA_NS
