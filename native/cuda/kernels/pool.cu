// maxPool2d with the places of the maxima, avgPool2d, whose padding counts as zeros, and their
// gradients. A thread has an element of the result; those of gradients gather from the windows that
// cover their place, in rising order, so that nothing is added by two threads. Of equal elements
// the first one of a window counts, a NaN always does, as in PyTorch.
#include "core/ops/pooling.h"

#include "cuda/device/index.cuh"
#include "cuda/host/windows.h"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;

struct Pooling {
  int64_t planes, rows, columns, out_rows, out_columns;
  Window row_window, column_window;
};

/// Of x [n, channels, rows, columns] and its pooled form.
Pooling pooling_of(const ops::PoolAttributes& attributes, const Tensor& x, const Tensor& y) {
  const auto& [kernel, stride, padding, plane, save] = attributes;
  return {x.dims[0] * x.dims[1],
          x.dims[2],
          x.dims[3],
          y.dims[2],
          y.dims[3],
          {kernel.height, stride.height, padding.height},
          {kernel.width, stride.width, padding.width}};
}

/// An element of planes of `rows` x `columns`.
struct Position {
  int64_t plane, row, column;
};
TANDEM_DEVICE Position position_of(int64_t i, int64_t rows, int64_t columns) {
  const int64_t plane = i / (rows * columns);
  const auto within = static_cast<uint32_t>(i - plane * rows * columns);  // planes are below 2^31
  const uint32_t row = within / static_cast<uint32_t>(columns);
  return {plane, row, within - row * static_cast<uint32_t>(columns)};
}

TANDEM_DEVICE int64_t thread_index() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

/// `places` null where nobody wants them.
__global__ void __launch_bounds__(kThreads)
    max_kernel(Pooling p, const float* x, float* y, int32_t* places) {
  const int64_t i = thread_index();
  if (i >= p.planes * p.out_rows * p.out_columns) return;
  const Position at = position_of(i, p.out_rows, p.out_columns);
  const Places rows = covered_by(p.row_window, at.row, p.rows);
  const Places columns = covered_by(p.column_window, at.column, p.columns);
  const float* const plane = x + at.plane * p.rows * p.columns;
  float best = -INFINITY;
  int64_t place = rows.begin * p.columns + columns.begin;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    for (int64_t column = columns.begin; column < columns.end; ++column) {
      const float v = plane[row * p.columns + column];
      if (!(v > best || v != v)) continue;
      best = v;
      place = row * p.columns + column;
    }
  }
  y[i] = best;
  if (places != nullptr) places[i] = static_cast<int32_t>(place);
}

__global__ void __launch_bounds__(kThreads)
    max_grad_kernel(Pooling p, const float* dy, const int32_t* places, float* dx) {
  const int64_t i = thread_index();
  const int64_t size = p.rows * p.columns;
  if (i >= p.planes * size) return;
  const Position at = position_of(i, p.rows, p.columns);
  const Places rows = covering(p.row_window, at.row, p.out_rows);
  const Places columns = covering(p.column_window, at.column, p.out_columns);
  const int64_t base = at.plane * p.out_rows * p.out_columns;
  const int64_t own = i - at.plane * size;
  float sum = 0.0F;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    for (int64_t column = columns.begin; column < columns.end; ++column) {
      const int64_t from = base + row * p.out_columns + column;
      if (places[from] == own) sum += dy[from];
    }
  }
  dx[i] = sum;
}

__global__ void __launch_bounds__(kThreads)
    average_kernel(Pooling p, float share, const float* x, float* y) {
  const int64_t i = thread_index();
  if (i >= p.planes * p.out_rows * p.out_columns) return;
  const Position at = position_of(i, p.out_rows, p.out_columns);
  const Places rows = covered_by(p.row_window, at.row, p.rows);
  const Places columns = covered_by(p.column_window, at.column, p.columns);
  const float* const plane = x + at.plane * p.rows * p.columns;
  float sum = 0.0F;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    for (int64_t column = columns.begin; column < columns.end; ++column)
      sum += plane[row * p.columns + column];
  }
  y[i] = sum * share;
}

__global__ void __launch_bounds__(kThreads)
    average_grad_kernel(Pooling p, float share, const float* dy, float* dx) {
  const int64_t i = thread_index();
  if (i >= p.planes * p.rows * p.columns) return;
  const Position at = position_of(i, p.rows, p.columns);
  const Places rows = covering(p.row_window, at.row, p.out_rows);
  const Places columns = covering(p.column_window, at.column, p.out_columns);
  const float* const plane = dy + at.plane * p.out_rows * p.out_columns;
  float sum = 0.0F;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    for (int64_t column = columns.begin; column < columns.end; ++column)
      sum += plane[row * p.out_columns + column] * share;
  }
  dx[i] = sum;
}

/// Of an element in its window.
float share_of(const ops::PoolAttributes& attributes) {
  return static_cast<float>(1.0 / (static_cast<double>(attributes.kernel.height) *
                                   static_cast<double>(attributes.kernel.width)));
}

}  // namespace

void launch_maxPool2d(Launch& launch) {
  const auto& attributes = launch.attributes<ops::PoolAttributes>();
  launch.kernel(max_kernel, ceil_div(launch.output().numel, kThreads), kThreads,
                pooling_of(attributes, launch.input(0), launch.output()), launch.in(0),
                launch.out(), attributes.save_indices ? launch.out<int32_t>(1) : nullptr);
}

void launch_maxPool2dGrad(Launch& launch) {
  const auto& attributes = launch.attributes<ops::PoolAttributes>();
  launch.kernel(max_grad_kernel, ceil_div(launch.output().numel, kThreads), kThreads,
                pooling_of(attributes, launch.output(), launch.input(0)), launch.in(0),
                launch.in<int32_t>(1), launch.out());
}

void launch_avgPool2d(Launch& launch) {
  const auto& attributes = launch.attributes<ops::PoolAttributes>();
  launch.kernel(average_kernel, ceil_div(launch.output().numel, kThreads), kThreads,
                pooling_of(attributes, launch.input(0), launch.output()), share_of(attributes),
                launch.in(0), launch.out());
}

void launch_avgPool2dGrad(Launch& launch) {
  const auto& attributes = launch.attributes<ops::PoolAttributes>();
  launch.kernel(average_grad_kernel, ceil_div(launch.output().numel, kThreads), kThreads,
                pooling_of(attributes, launch.output(), launch.input(0)), share_of(attributes),
                launch.in(0), launch.out());
}

}  // namespace tandem::cuda
