// The pieces that the tiles of a matrix product are made of, between the files gemm_*.cpp.
#pragma once

#include "cpu/gemm_kernels.h"
#include "cpu/isa/tiles.h"
#include "cpu/isa/words.h"

TANDEM_GEMM_DECLARE(TANDEM_ISA_NS)

namespace tandem::cpu::TANDEM_ISA_NS {

// Rows of a panel of A, and the rows that kernels of 4 and of 8 vectors of columns serve: the wide
// ones for few rows only, which would leave the FMA units waiting for their own results otherwise.
#if defined(TANDEM_ISA_AVX512)
// 14 x 2 accumulators, two vectors of B and one of A leave one register of 32 free.
inline constexpr int kPanelRows = 14, kWide4Rows = 6, kWide8Rows = 2;
#elif defined(TANDEM_ISA_AVX2)
inline constexpr int kPanelRows = 6, kWide4Rows = 2, kWide8Rows = 1;
#else
inline constexpr int kPanelRows = 4, kWide4Rows = 1, kWide8Rows = 0;
#endif
inline constexpr int kPanelColumns = 2 * kLanes;   // of a panel of B
inline constexpr int kWidestColumns = 8 * kLanes;  // of a register kernel

TANDEM_INLINE GemmParts cut(int64_t total, int64_t parts) {
  return {parts, total / parts, total % parts};
}
TANDEM_INLINE int64_t part_start(const GemmParts& parts, int64_t i) {
  return parts.size * i + least(parts.longer, i);
}

// The first row of a panel of A; behind the last one, the rows of A.
TANDEM_INLINE int64_t panel_row(const GemmPlan& plan, int64_t panel) {
  return least(part_start(plan.row_panels, panel) * plan.row_unit, plan.desc.m);
}

TANDEM_INLINE int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

TANDEM_INLINE int64_t element_bytes(GemmElement type) {
  return type == GEMM_TO_F32 || type == GEMM_TO_S32 ? 4 : type == GEMM_TO_BF16 ? 2 : 1;
}
TANDEM_INLINE int64_t element_bytes(GemmType type) {
  return type == GEMM_F32 ? 4 : type == GEMM_BF16 ? 2 : 1;
}
// Of A and B as the caller has them.
TANDEM_INLINE int64_t operand_bytes(const GemmDesc& d) {
  return d.from_float ? 4 : element_bytes(d.type);
}
// Of the sums of the columns that follow packed panels.
TANDEM_INLINE int64_t sums_bytes(GemmType type, int64_t columns) {
  return type == GEMM_S8 ? round_up(columns * 4, 64) : 0;
}

// Row stride of a packed panel of A in words: whole vectors, so that stores stay in one cache line.
inline constexpr int kPackedRows = (kPanelRows + kLanes - 1) / kLanes * kLanes;

// Whether an A that is packed before the first compute tile is, for each vector of words of k, a
// panel's rows of as many words.
TANDEM_INLINE bool packs_tiles(const GemmDesc& d) { return d.kernels->row_unit > 1; }

// Bytes of a panel of A of so many words of k that is packed with its neighbours. An odd number of
// cache lines, so that the rows of words that are written together spread over the sets of L1.
TANDEM_INLINE int64_t panel_bytes(int64_t words) {
  return (ceil_div(words * kPackedRows * 4, 64) | 1) * 64;
}

// Bytes of a panel of A that is packed before the first compute tile.
TANDEM_INLINE int64_t packed_a_panel(const GemmPlan& plan) {
  if (packs_tiles(plan.desc))
    return plan.k_words * plan.desc.kernels->panel_rows * plan.desc.kernels->a_word;
  return panel_bytes(plan.k_words);
}

// Panels of A that a tile packs at a time for itself: what the L2 holds beside its part of B,
// however tall the tile is.
inline constexpr int64_t kBlockPanels = 14;

// The best kernels of a type that this processor has.
const GemmKernels* best_kernels(GemmType type);

// out[j][0..kLanes) = word j of each of `rows` <= kLanes rows of src; missing rows become zero.
// Strides count bytes in src and words in out.
void transpose_strip(const char* src, int64_t src_row, int rows, int64_t columns, char* out,
                     int64_t out_row);

// Panel [k][kPackedRows] from `rows` rows of A, whose strides count floats.
void pack_a_panel(const char* a, int64_t a_row, int64_t a_col, int64_t rows, int64_t k,
                  char* panel);

// Panels [p0, p1) of columns of A, `words` words of them from w0 on, as panels [words][kPackedRows]
// that lie `panel` bytes apart.
void pack_a_panels(const GemmPlan& plan, const char* a, int64_t p0, int64_t p1, int64_t w0,
                   int64_t words, char* packed, int64_t panel);

// Columns of B as panels [k][kPanelColumns], one after the other, each with all of k; the last
// panel is [k][kLanes] where that is enough. Missing columns are zero. Packs rows [k0, k1) of
// panels [p0, p1).
void pack_b_panels(const float* b, int64_t b_row, int64_t b_col, int64_t n, int64_t k, int64_t p0,
                   int64_t p1, int64_t k0, int64_t k1, float* packed);

// The same for types of more than one element a word: A as the plan wants it, `k` elements of
// `rows` rows as `words` words; and panels [p0, p1) of the matrix `b` of n columns with all of k,
// with the sums of the columns of GEMM_S8, counted from the first panel.
void pack_a_words(const GemmPlan& plan, const char* a, int64_t rows, int64_t k, int64_t words,
                  char* panel);
void pack_b_words(const GemmPlan& plan, const char* b, int64_t n, int64_t p0, int64_t p1,
                  char* packed, int32_t* sums);

// Sums of the columns of a packed panel of GEMM_S8, `width` of them, whose words hold `group`
// bytes.
void sum_columns(const char* panel, int group, int64_t words, int64_t width, int32_t* sums);

// The same for operands that are rounded (GemmDesc::from_float); of panels of B words [w0, w1).
void round_a_panel(const GemmPlan& plan, const float* a, int64_t rows, int64_t k, int64_t words,
                   char* panel);
void round_b_panels(const GemmPlan& plan, const float* b, int64_t n, int64_t p0, int64_t p1,
                    int64_t w0, int64_t w1, char* packed);
// The same for all of k of panels of floats, which cover n columns.
void round_packed_panels(const GemmPlan& plan, const float* b, int64_t n, char* packed);

// C[rows, columns] = [add +] dot products of rows of A and columns of B, both contiguous in k.
void dot_block(const float* a, int64_t a_row, int64_t rows, const float* b, int64_t b_col,
               int64_t columns, int64_t k, const float* add, int64_t add_row, float* c,
               int64_t c_row);

// The epilogue of one piece of C whose sums are in memory, `width` words to a row: what ends
// within a vector, and what too few products need to be worth code in every kernel.
void finish_float_sums(const MicroArgs& t, const char* sums, int width);
void finish_integer_sums(const MicroArgs& t, const char* sums, int width);

// One row of `t.columns` values in float, converted to the type of C.
void store_row(const MicroArgs& t, const float* values, char* row);

}  // namespace tandem::cpu::TANDEM_ISA_NS
