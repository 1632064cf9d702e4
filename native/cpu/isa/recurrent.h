// What lstm and gru share: the cut of a batch into tiles of rows, which are independent through all
// of time, and the product of a tile's states with the weights in each step, which are packed once
// for a call.
#pragma once

#include "cpu/isa/gemm_kernel.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// The product of a step is C[rows, n] = A[rows, k] * B[k, n]; the rows of A are those of a
/// [batch, time, k] tensor at one time.
struct Recurrence {
  GemmPlan plans[2];                  // of tiles of parts.size rows, and of one more
  GemmParts parts;                    // of the batch
  int64_t batch, time, units, gates;  // gates: all of them, a multiple of units
  int64_t floats_at;                  // bytes of scratch before those of the kernels
  int32_t weights;                    // operand: packed weights
  int32_t kept;                       // the first operand of what the gradient reads, or -1
  // Where the weights are bytes: bytes before their scales in the packed memory; bytes of scratch
  // before the sums of their columns, and before the states of a step as bytes, with a scale and a
  // zero for each row. Else -1.
  int64_t scales_at, sums_at, states_at;
};

/// Rows [begin, end) of the batch.
TANDEM_INLINE Range rows_at(const Recurrence& p, int64_t tile) {
  return {part_start(p.parts, tile), part_start(p.parts, tile + 1)};
}

/// How a piece of a row is read and written: a whole vector, or those elements that there are,
/// which takes longer.
struct WholeVector {
  [[nodiscard]] Vec read(const float* p) const { return load(p); }
  void write(float* p, Vec x) const { store(p, x); }
};
struct PartOfVector {
  int64_t n;
  [[nodiscard]] Vec read(const float* p) const { return load_partial(p, n); }
  void write(float* p, Vec x) const { store_partial(p, x, n); }
};

/// Calls `body(j, access)` for the vectors of a row of `units`.
template <typename Body>
TANDEM_INLINE void for_vectors(int64_t units, const Body& body) {
  int64_t j = 0;
  for (; j + kWidth <= units; j += kWidth) body(j, WholeVector{});
  if (j < units) body(j, PartOfVector{units - j});
}

/// Asks for rows of `n` floats that lie `stride` apart, to have them when the product is done.
TANDEM_INLINE void prefetch_rows(const float* p, int64_t stride, int64_t rows, int64_t n) {
  constexpr int64_t kLine = 16;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < n; j += kLine) __builtin_prefetch(p + r * stride + j, 0, 2);
  }
}

/// The same where both are bytes, the rows of A by their own ranges.
void multiply_bytes(const Recurrence& p, int64_t rows, const float* a, const void* packed, float* c,
                    GemmEpilogue epilogue, void* scratch);

/// What a tile makes of weights of bytes before its first product: it takes less time than one of a
/// row, and the sums would be a good part of small weights.
void sum_bytes(const Recurrence& p, const void* packed, void* scratch);

/// C = A * B for a tile; all of it by this thread.
TANDEM_INLINE void multiply(const Recurrence& p, int64_t rows, const float* a, const void* packed,
                            float* c, const GemmEpilogue& epilogue, void* scratch) {
  if (p.scales_at >= 0) return multiply_bytes(p, rows, a, packed, c, epilogue, scratch);
  const GemmPlan& plan = p.plans[rows - p.parts.size];
  for (int64_t i = 0; i < plan.compute_tiles; ++i)
    gemm_compute(plan, a, packed, c, epilogue, i, scratch);
}

/// Emits a forward node: x, the weights [gates, units] and the result [batch, time, units]. `tile`
/// finds room for the gates and units of a tile's rows behind the scratch memory of the kernels.
void emit_forward(const NodeView& node, TileFn tile, Emitter& emit);

/// The same where the weights are bytes: attributes are a ByteWeight.
void emit_quantized_forward(const NodeView& node, TileFn tile, Emitter& emit);

/// Of a gradient node, whose first input and first output are [batch, time, gates].
struct BackwardRecurrence {
  int32_t weights;        ///< input with the weights
  bool accumulate;        ///< whether the product of a step is added to what is there
  int64_t scratch_units;  ///< rows of `units` floats that the tile wants for each of its rows
};
void emit_backward(const NodeView& node, const BackwardRecurrence& of, TileFn tile, Emitter& emit);

}  // namespace tandem::cpu::TANDEM_ISA_NS
