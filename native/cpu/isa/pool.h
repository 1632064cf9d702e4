// What the two poolings share: planes, and the windows that move over them.
#pragma once

#include "core/ops/pooling.h"
#include "cpu/isa/tiles.h"
#include "cpu/isa/windows.h"

namespace tandem::cpu::TANDEM_ISA_NS {

struct Pooling {
  int64_t planes, per_tile;
  int64_t rows, columns, out_rows, out_columns;
  WindowTaps row_taps, column_taps;
};

/// Whole planes in each tile: about this many elements of the larger side.
TANDEM_INLINE int64_t planes_per_tile(int64_t in, int64_t out) {
  constexpr int64_t kTile = 16384;
  return most(1, kTile / most(in, out));
}

/// Of x [n, channels, rows, columns] and its pooled form.
TANDEM_INLINE Pooling pooling_of(const ops::PoolAttributes& attributes, const Tensor& x,
                                 const Tensor& y) {
  const auto taps = [](int64_t kernel, int64_t stride, int64_t padding) {
    return WindowTaps{kernel, stride, -padding, 1};
  };
  const auto& [kernel, stride, padding, plane, save] = attributes;
  return {x.dims[0] * x.dims[1],
          planes_per_tile(x.dims[2] * x.dims[3], y.dims[2] * y.dims[3]),
          x.dims[2],
          x.dims[3],
          y.dims[2],
          y.dims[3],
          taps(kernel.height, stride.height, padding.height),
          taps(kernel.width, stride.width, padding.width)};
}

/// The maxima of windows of 2 x 2 side by side, of planes in operand `from`.
struct PairMaxima {
  int64_t planes, rows, columns;
  int32_t from, to;
};
void emit_pair_maxima(const PairMaxima& pairs, Emitter& emit);

TANDEM_INLINE double tap_count(const Pooling& p) {
  return static_cast<double>(p.row_taps.count) * static_cast<double>(p.column_taps.count);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
