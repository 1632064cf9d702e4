// The gradient of the weights of a convolution whose groups have one channel: for each tap a dot
// product of dy with a shifted plane, over all images in their order.
#include "cpu/isa/conv_rows.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

constexpr int64_t kRowFloats = 6 * 1024;

struct DepthwiseParams {
  ConvShape shape;
  ConvGrid grid;
  PaddedRows rows;
  int64_t taps, rows_at;  // rows_at: bytes of scratch before the padded rows, behind the sums
};

TANDEM_INLINE float sum_of(const float* lanes) {
  float sum = 0.0F;
  for (int i = 0; i < kLanes; ++i) sum += lanes[i];
  return sum;
}

/// Adds a row of pixels to the sums of neighbouring taps, a vector each, in registers.
template <int taps>
TANDEM_INLINE void add_taps(const WindowTaps& columns, int64_t pixels, const float* x,
                            const float* dy, float* sums) {
  Lanes acc[taps];
#pragma GCC unroll 4
  for (int t = 0; t < taps; ++t) acc[t] = load_lanes(sums + t * kLanes);
  for (int64_t q = 0; q < pixels; q += kLanes) {
    const int count = static_cast<int>(least(kLanes, pixels - q));
    const Lanes gradient = load_lanes(dy + q, count);
    const float* at = x + q * columns.stride;
#pragma GCC unroll 4
    for (int t = 0; t < taps; ++t, at += columns.step) {
      const Lanes read = columns.stride == 1
                             ? load_lanes(at, count)
                             : load_strided(at, lane_range(0, count), columns.stride);
      acc[t] = fma(gradient, read, acc[t]);
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < taps; ++t) store(sums + t * kLanes, acc[t]);
}

/// Adds R rows of pixels to the sums of 3 x 3 neighbouring taps: of R + 2 rows of x, each vector is
/// read once a column of taps. `full`: whole vectors.
template <int R, bool full>
TANDEM_INLINE void add_nine(const float* x, int64_t x_row, const float* dy, int64_t dy_row,
                            int count, Lanes (&acc)[3][3]) {
  const auto read = [count](const float* p) { return full ? load_lanes(p) : load_lanes(p, count); };
  Lanes gradient[R];
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i) gradient[i] = read(dy + i * dy_row);
#pragma GCC unroll 8
  for (int r = 0; r < R + 2; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < 3; ++j) {
      const Lanes pixel = read(x + r * x_row + j);
#pragma GCC unroll 4
      for (int i = 0; i < R; ++i) {
        if (r >= i && r - i < 3) acc[r - i][j] = fma(gradient[i], pixel, acc[r - i][j]);
      }
    }
  }
}

template <int R>
void add_rows(const float* x, int64_t x_row, const float* dy, int64_t pixels, float* sums) {
  Lanes acc[3][3];
#pragma GCC unroll 9
  for (int t = 0; t < 9; ++t) acc[t / 3][t % 3] = load_lanes(sums + t * kLanes);
  int64_t q = 0;
  for (; q + kLanes <= pixels; q += kLanes)
    add_nine<R, true>(x + q, x_row, dy + q, pixels, kLanes, acc);
  if (q < pixels)
    add_nine<R, false>(x + q, x_row, dy + q, pixels, static_cast<int>(pixels - q), acc);
#pragma GCC unroll 9
  for (int t = 0; t < 9; ++t) store(sums + t * kLanes, acc[t / 3][t % 3]);
}

bool is_nine(const ConvGrid& grid) {
  const auto dense = [](const WindowTaps& taps) {
    return taps.count == 3 && taps.stride == 1 && taps.step == 1;
  };
  return dense(grid.row_taps) && dense(grid.column_taps);
}

/// The same for all taps.
void add_row(const DepthwiseParams& p, const float* copy, const float* dy, float* sums) {
  const WindowTaps& columns = p.grid.column_taps;
  const int64_t pixels = p.grid.out_columns;
  for (int64_t i = 0; i < p.grid.row_taps.count; ++i) {
    const float* x = copy + tap_offset(p.grid, p.rows, i, 0);
    int64_t j = 0;
    for (; j + 3 <= columns.count; j += 3, x += 3 * columns.step, sums += 3 * kLanes)
      add_taps<3>(columns, pixels, x, dy, sums);
    for (; j < columns.count; ++j, x += columns.step, sums += kLanes)
      add_taps<1>(columns, pixels, x, dy, sums);
  }
}

/// Tile: a channel of dy.
void weight_tile(const void* params, void* const* operands, int64_t tile,
                 const TileContext& context) {
  const auto& p = params_of<DepthwiseParams>(params);
  const ConvShape& s = p.shape;
  const ConvGrid& grid = p.grid;
  const int64_t channels = s.groups * s.out, pixels = s.y_rows * s.y_columns;
  const int64_t plane = s.x_rows * s.x_columns;
  auto* sums = static_cast<float*>(context.scratch);
  auto* copy = reinterpret_cast<float*>(static_cast<char*>(context.scratch) + p.rows_at);
  for (int64_t t = 0; t < p.taps; ++t) store(sums + t * kLanes, spread(0.0F));
  for (int64_t image = 0; image < s.batch; ++image) {
    const float* x =
        static_cast<const float*>(operands[0]) + (image * s.groups + tile / s.out) * plane;
    const float* dy = static_cast<const float*>(operands[1]) + (image * channels + tile) * pixels;
    for (int64_t first = 0; first < s.y_rows; first += p.rows.out_rows) {
      copy_rows(grid, p.rows, x, first, copy);
      const int64_t rows = least(p.rows.out_rows, s.y_rows - first);
      int64_t r = 0;
      if (is_nine(grid)) {
        for (; r + 4 <= rows; r += 4, dy += 4 * s.y_columns) {
          fetch_ahead(x + s.groups * plane + (first + r) * s.x_columns, 4 * s.x_columns);
          fetch_ahead(dy + channels * pixels, 4 * s.y_columns);
          add_rows<4>(copy + r * p.rows.columns, p.rows.columns, dy, s.y_columns, sums);
        }
        for (; r < rows; ++r, dy += s.y_columns)
          add_rows<1>(copy + r * p.rows.columns, p.rows.columns, dy, s.y_columns, sums);
      }
      for (; r < rows; ++r, dy += s.y_columns)
        add_row(p, copy + r * grid.row_taps.stride * p.rows.columns, dy, sums);
    }
  }
  float* dw = static_cast<float*>(operands[2]) + tile * p.taps;
  for (int64_t t = 0; t < p.taps; ++t) dw[t] = sum_of(sums + t * kLanes);
}

}  // namespace

void emit_depthwise_weight(const ConvShape& shape, Emitter& emit) {
  DepthwiseParams p = {};
  p.shape = shape;
  p.grid = forward_grid(shape);
  p.rows = plan_rows(p.grid, kRowFloats);
  p.taps = shape.tap_rows * shape.tap_columns;
  p.rows_at = round_up(p.taps * kLanes * 4, 64);
  emit.scratch(p.rows_at + row_bytes(p.rows));
  emit_step(emit, weight_tile, p, shape.groups * shape.out,
            conv_products(shape) * 1.0 / kWidth + 100.0);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
