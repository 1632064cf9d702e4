// The matrix product in single precision: what a caller describes and what a plan decides.
// Shared by code compiled with different instruction sets, so it holds plain data only: an
// inline function here would exist once per instruction set and the linker would keep any one.
#pragma once

#include <cstdint>

namespace tandem::cpu {

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
  bool accumulate;  // C += instead of =; the epilogue sees the sum
  bool b_packed;    // B was packed when the plan was made (frozen weights)
};

enum GemmActivation : int { GEMM_ACT_NONE, GEMM_ACT_RELU, GEMM_ACT_APPLY };

// value = product [+ C] [+ bias]; pre = value; value = activation(value);
// value = apply_grad(value, saved); C = value. Each part is optional.
struct GemmEpilogue {
  const float* bias;  // [n] or null
  GemmActivation activation;
  // `in` and `out` are either the same or do not overlap.
  void (*apply)(const float* in, const float* unused, float* out, int64_t n, const float* params);
  const float* params;  // attributes of the activation
  float* pre;           // value before the activation, laid out as C; may be null
  void (*apply_grad)(const float* dy, const float* saved, float* out, int64_t n,
                     const float* params);
  const float* saved;  // operand of apply_grad, laid out as C
};

// How the columns of B reach the kernels.
enum GemmSource : int {
  GEMM_B_PACKED,  // packed by the pack tiles before any compute tile starts
  GEMM_B_LOCAL,   // packed by each compute tile in its scratch
  GEMM_B_DIRECT,  // read in place, b_col == 1
  GEMM_B_DOT,     // read in place as dot products, b_row == 1 and a_col == 1
};

// Decided by the shape alone. A block is the part of C that one compute tile writes; it sums k
// in steps of kc in rising order, so results do not depend on who computes which tile.
struct GemmPlan {
  GemmDesc desc;  // with foldable batch dimensions folded into m
  GemmSource source;
  bool pack_a;
  int64_t row_panels, col_panels;  // of at most kPanelRows rows and kPanelColumns columns
  int64_t row_blocks, col_blocks;  // of panels
  int64_t kc;
  int64_t pack_panels, pack_k;  // extent of a pack tile
  int64_t b_matrices;           // distinct matrices of B
  int64_t packed_floats;        // of one packed matrix of B
  int64_t packed_b_bytes;       // of all of them; the layout depends on k and n alone
  int64_t pack_tiles;           // nothing to pack: 0. With b_packed: to run once, up front
  int64_t compute_tiles;
  int64_t scratch_bytes;  // per thread, 64-byte aligned
};

}  // namespace tandem::cpu

// Declares the entry points of one instruction set.
//   plan_gemm     what to do, from the shape
//   gemm_pack_b   tile in [0, pack_tiles); all of them end before the first compute tile starts
//   gemm_compute  tile in [0, compute_tiles); `b` is the packed buffer if source is
//                 GEMM_B_PACKED and the caller's matrix otherwise
// Tiles write disjoint memory and run in any order on any thread.
#define TANDEM_GEMM_DECLARE(ns)                                                        \
  namespace tandem::cpu::ns {                                                          \
  GemmPlan plan_gemm(const GemmDesc& desc);                                            \
  void gemm_pack_b(const GemmPlan& plan, const float* b, float* packed, int64_t tile); \
  void gemm_compute(const GemmPlan& plan, const float* a, const float* b, float* c,    \
                    const GemmEpilogue& epilogue, int64_t tile, void* scratch);        \
  }
