// avgPool2d, whose padding counts as zeros, and its gradient. A tile owns whole planes, so that the
// sums of windows that overlap have one order.
#include "cpu/isa/kernels.h"
#include "cpu/isa/pool.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct AverageParams : Pooling {
  float share;  // of an element in its window
};

TANDEM_INLINE Vec sum_windows(const AverageParams& p, const float* plane, int64_t top, int64_t q) {
  const WindowTaps& columns = p.column_taps;
  const int64_t first_row = most(top, 0), last_row = least(top + p.row_taps.count, p.rows);
  Vec sum = zero();
  for (int64_t j = 0; j < columns.count; ++j) {
    const uint32_t lanes = lanes_within(columns, j, p.columns, p.out_columns, q);
    const float* x = plane + q * columns.stride + columns.first + j;
    for (int64_t row = first_row; row < last_row; ++row)
      sum += load_vector(x + row * p.columns, lanes, columns.stride);
  }
  return sum;
}

void average_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<AverageParams>(params);
  const Range range = piece(tile, p.per_tile, p.planes);
  const Vec share = set1(p.share);
  for (int64_t plane = range.begin; plane < range.end; ++plane) {
    const float* x = static_cast<const float*>(operands[0]) + plane * p.rows * p.columns;
    float* y = static_cast<float*>(operands[1]) + plane * p.out_rows * p.out_columns;
    int64_t top = p.row_taps.first;
    for (int64_t r = 0; r < p.out_rows; ++r, top += p.row_taps.stride, y += p.out_columns) {
      for (int64_t q = 0; q < p.out_columns; q += kWidth)
        store_partial(y + q, sum_windows(p, x, top, q) * share, least(kWidth, p.out_columns - q));
    }
  }
}

/// Adds a row of dy to a row of dx for each column of the windows.
void add_row(const AverageParams& p, const float* dy, float* dx) {
  const WindowTaps& columns = p.column_taps;
  for (int64_t j = 0; j < columns.count; ++j) {
    const PixelRange within = pixels_within(columns, j, p.columns, p.out_columns);
    const int64_t first = columns.first + j;
    if (columns.stride == 1) {
      for (int64_t q = within.begin; q < within.end; ++q) dx[q + first] += dy[q] * p.share;
    } else {
      for (int64_t q = within.begin; q < within.end; ++q)
        dx[q * columns.stride + first] += dy[q] * p.share;
    }
  }
}

void grad_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<AverageParams>(params);
  const Range range = piece(tile, p.per_tile, p.planes);
  const int64_t size = p.rows * p.columns;
  for (int64_t plane = range.begin; plane < range.end; ++plane) {
    const float* dy = static_cast<const float*>(operands[0]) + plane * p.out_rows * p.out_columns;
    float* dx = static_cast<float*>(operands[1]) + plane * size;
    std::memset(dx, 0, static_cast<size_t>(size) * sizeof(float));
    int64_t top = p.row_taps.first;
    for (int64_t r = 0; r < p.out_rows; ++r, top += p.row_taps.stride, dy += p.out_columns) {
      const int64_t last_row = least(top + p.row_taps.count, p.rows);
      for (int64_t row = most(top, 0); row < last_row; ++row) add_row(p, dy, dx + row * p.columns);
    }
  }
}

void launch(const NodeView& node, const Tensor& x, const Tensor& y, TileFn fn, double tap_cost,
            Emitter& emit) {
  AverageParams p{pooling_of(attributes_of<ops::PoolAttributes>(node), x, y), 0};
  const double taps = tap_count(p);
  p.share = static_cast<float>(1.0 / taps);
  emit_step(
      emit, fn, p, ceil_div(p.planes, p.per_tile),
      static_cast<double>(x.numel) * kMoveCost + static_cast<double>(y.numel) * taps * tap_cost);
}

}  // namespace

void launch_avgPool2d(const NodeView& node, Emitter& emit) {
  launch(node, *node.inputs[0], *node.outputs[0], average_tile, 2.0 / kWidth, emit);
}

void launch_avgPool2dGrad(const NodeView& node, Emitter& emit) {
  launch(node, *node.outputs[0], *node.inputs[0], grad_tile, 0.7, emit);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
