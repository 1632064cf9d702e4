// The matrix product: what a caller describes and what a plan decides. Shared by code compiled
// with different instruction sets, so it holds plain data only: an inline function here would
// exist once per instruction set and the linker would keep any one.
#pragma once

#include <cstdint>

namespace tandem::cpu {

// What is multiplied and in what it is summed up:
//   GEMM_F32   float x float, in float
//   GEMM_BF16  bfloat16 x bfloat16, in float
//   GEMM_S8    uint8 or int8 x int8, in int32, without rounding and modulo 2^32
enum GemmType : int { GEMM_F32, GEMM_BF16, GEMM_S8 };

enum GemmElement : int { GEMM_TO_F32, GEMM_TO_BF16, GEMM_TO_S32, GEMM_TO_S8, GEMM_TO_U8 };

struct GemmKernels;  // gemm_kernels.h

// Products of up to so many rows in float with a B that was packed when the plan was made have the
// bits of one row alone in each: such predictions may be computed together.
inline constexpr int kAlikeRows = 4;

// How the processor multiplies its widest vectors, which decides what a step of k hides.
enum GemmUnits : int {
  GEMM_UNITS_DETECTED,
  GEMM_UNITS_WHOLE,  // in one piece
  GEMM_UNITS_SPLIT,  // in halves, one after the other
};

// C[m,n] = epilogue(A[m,k] * B[k,n]) for each matrix of a batch. Strides count elements.
struct GemmDesc {
  int64_t m, n, k;
  int64_t a_row, a_col;  // one of the two is 1: a transposed operand comes as strides
  int64_t b_row, b_col;  // the same
  int64_t c_row;         // neighbouring columns of C are neighbours in memory
  // Two batch dimensions, so that attention reads [batch, time, head, depth] in place.
  // A stride of 0 repeats A or B; C must not repeat, its tiles are written at the same time.
  int64_t batch[2];
  int64_t a_batch[2], b_batch[2], c_batch[2];
  bool accumulate;  // C += instead of =; the epilogue sees the sum. C is float or bfloat16
  bool b_packed;    // B was packed when the plan was made (frozen weights)
  bool one_block;   // all of C in one compute tile, for callers that cut C themselves
  bool row_bias;    // the epilogue may have one; C is float, sums are
  GemmType type;
  GemmElement c_type;  // GEMM_F32: float; GEMM_BF16: float, bfloat16; GEMM_S8: all but bfloat16
  bool a_signed;       // GEMM_S8: A is int8, otherwise uint8
  bool from_float;     // GEMM_BF16: A and B are float, rounded to nearest even as they are packed
  bool pack_a_first;   // the caller runs pack_a_tiles, if the plan has any
  bool b_streams;      // B, or one after another of a batch, comes from beyond the L2
  const GemmKernels* kernels;  // null: the best that this processor has for the type
  GemmUnits units;
  int l1_ways;  // of the first cache of data; 0: this processor's
};

enum GemmActivation : int { GEMM_ACT_NONE, GEMM_ACT_RELU, GEMM_ACT_APPLY };

// value = product [+ C] [+ residual] [+ bias]; pre = value; value = activation(value);
// value = apply_grad(value, saved); C = value. Each part is optional.
// GEMM_S8: product = sum of (A - zero) * (B - zero), times scale[column] and row_scale[row]; C is
// float, or round(value * c_inverse) + c_zero, saturated. With C int32 the product is all there is.
struct GemmEpilogue {
  const float* bias;      // [n] or null
  const float* row_bias;  // [m] or null, where sums start; not with accumulate, residual or dots
  GemmActivation activation;
  // `in` and `out` are either the same or do not overlap.
  void (*apply)(const float* in, const float* unused, float* out, int64_t n, const float* params);
  const float* params;  // attributes of the activation
  void* pre;            // value before the activation, laid out as C and of its type; may be null
  void (*apply_grad)(const float* dy, const float* saved, float* out, int64_t n,
                     const float* params);
  const void* saved;     // operand of apply_grad, laid out as C and of its type
  const void* residual;  // the same; not together with accumulate. C is float or bfloat16
  // GEMM_S8 alone; `pre`, `saved` and `residual` need C to be float.
  const float* scale;          // [n], scale of A times scale of B; null: 1
  const float* row_scale;      // [rows of the whole batch] or null: 1
  const int32_t* row_zero;     // [rows of the whole batch] or null: 0; added to a_zero
  int32_t a_zero;              // the value of A that stands for zero
  const int32_t* column_zero;  // [n], the value of B that does; null: 0
  const int32_t* row_sums;     // [rows of the whole batch] with column_zero: of A less its zero
  float c_inverse;             // 1 / scale of C
  int32_t c_zero;              // the value of C that stands for zero
  // Sums of the columns of a packed B, whole vectors of them, where they are not behind it.
  const int32_t* sums;
  const int16_t* short_sums;  // instead, where they fit
};

// How the columns of B reach the kernels.
enum GemmSource : int {
  GEMM_B_PACKED,  // packed by the pack tiles before any compute tile starts
  GEMM_B_LOCAL,   // packed by each compute tile in its scratch
  GEMM_B_SPLIT,   // packed as floats, and split by each compute tile in its scratch
  GEMM_B_DIRECT,  // read in place, b_col == 1; float only
  GEMM_B_DOT,     // read in place as dot products, b_row == 1 and a_col == 1; float only
};

// A length cut in parts that differ by one at most: the first `longer` are of size + 1. Divided
// when the plan is made, since a division takes as long as a small product's step.
struct GemmParts {
  int64_t count, size, longer;
};

// Decided by the shape alone. A block is the part of C that one compute tile writes; it sums k
// in steps of kc in rising order, so results do not depend on who computes which tile. The unit
// of k is the word: what one lane multiplies in one step, a float or a few smaller elements.
struct GemmPlan {
  GemmDesc desc;  // with foldable batch dimensions folded into m, and the kernels chosen
  GemmSource source;
  bool pack_a;
  bool pack_a_block;     // compute tiles pack it, some panels at a time, for a step of k
  bool pack_last_a;      // of the last panel only: other rows have more behind them
  bool pack_tail_a;      // of other panels the last k_step words, where k ends within them
  bool rows_alike;       // rows are summed as each alone would be
  int64_t col_panels;    // of kPanelColumns columns
  GemmParts row_panels;  // of units of row_unit rows, at most panel_rows in a panel
  int64_t row_unit;
  GemmParts row_blocks;  // of row panels, or of the rows of a dot product
  GemmParts col_blocks;  // of column panels
  int64_t k_words;       // with the zeros that fill up the last ones
  int64_t kc;
  int64_t pack_panels, pack_k;  // extent of a pack tile
  int64_t b_matrices;           // distinct matrices of B
  int64_t packed_words;         // of k in a packed B, which is k where each tile splits it
  int64_t packed_bytes;         // of one packed matrix of B
  int64_t sums_at;              // where in it the sums of its columns are, for GEMM_S8
  int64_t packed_b_bytes;       // of all of them; the layout depends on the type, k and n alone
  int64_t pack_tiles;           // nothing to pack: 0. With b_packed: to run once, up front
  int64_t pack_a_k;             // words of k of a tile that packs A
  int64_t packed_a_bytes;       // of all of A, where it is packed before the first compute tile
  int64_t pack_a_tiles;         // 0: compute tiles read A where it is, or pack their part of it
  int64_t compute_tiles;
  int64_t a_stride;       // bytes between the rows of a packed panel of A, where it has rows
  int64_t sums_kept_at;   // bytes of scratch before the sums that wait for more words of k
  int64_t state_at;       // the same of the state of kernels
  int64_t stage_at;       // the same of the rows that wait for their epilogue
  int64_t stage_columns;  // of those, which are float; 0 where C is
  int64_t row_bias_at;    // the same of the bias of a panel's rows
  int64_t scratch_bytes;  // per thread, 64-byte aligned
};

}  // namespace tandem::cpu

// Declares the entry points of one instruction set.
//   gemm_kernels  the kernels of a type, best first, null at the end; not all need be available
//   panel_kernels those of GEMM_BF16 that attention uses: the best, unless a test chooses others
//   plan_gemm     what to do, from the shape
//   gemm_pack_b   tile in [0, pack_tiles); all of them end before the first compute tile starts
//   gemm_pack_a   tile in [0, pack_a_tiles); the same
//   gemm_compute  tile in [0, compute_tiles); `b` is the packed buffer if source is
//                 GEMM_B_PACKED or _SPLIT and the caller's matrix otherwise, `a` if there are
//                 pack_a_tiles
// Tiles write disjoint memory and run in any order on any thread. Packed buffers and scratch are
// 64-byte aligned.
#define TANDEM_GEMM_DECLARE(ns)                                                      \
  namespace tandem::cpu::ns {                                                        \
  const GemmKernels* const* gemm_kernels(GemmType type);                             \
  const GemmKernels*& panel_kernels();                                               \
  GemmPlan plan_gemm(const GemmDesc& desc);                                          \
  void gemm_pack_b(const GemmPlan& plan, const void* b, void* packed, int64_t tile); \
  void gemm_pack_a(const GemmPlan& plan, const void* a, void* packed, int64_t tile); \
  void gemm_compute(const GemmPlan& plan, const void* a, const void* b, void* c,     \
                    const GemmEpilogue& epilogue, int64_t tile, void* scratch);      \
  }
