// The gradient of the weights of a convolution whose groups have one channel: for each tap a dot
// product of dy with a shifted plane, over all images in their order.
#include "cpu/isa/conv.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

struct DepthwiseParams {
  ConvShape shape;
  ConvGrid grid;
};

/// Taps of a row that are summed up together.
constexpr int kTapsAtOnce = 4;

TANDEM_INLINE Lanes read_lanes(const float* row, uint32_t lanes, int64_t stride) {
  if (lanes == 0) return spread(0.0F);
  if (stride != 1) return load_strided(row, lanes, stride);
  return lanes == kAllLanes ? load_lanes(row) : load_lanes_of(row, lanes);
}

TANDEM_INLINE float sum_of(Lanes x) {
  float lanes[kLanes];
  store(lanes, x);
  float sum = 0.0F;
  for (int i = 0; i < kLanes; ++i) sum += lanes[i];
  return sum;
}

/// Adds one row of pixels to the sums of `taps` taps from tap `j` on.
TANDEM_INLINE void add_row(const ConvGrid& grid, const float* x_row, const float* dy_row, int64_t j,
                           int taps, Lanes* sums) {
  const WindowTaps& columns = grid.column_taps;
  PixelRange within[kTapsAtOnce];
  for (int t = 0; t < taps; ++t)
    within[t] = pixels_within(columns, j + t, grid.columns, grid.out_columns);
  for (int64_t q = 0; q < grid.out_columns; q += kLanes) {
    const Lanes dy = load_lanes(dy_row + q, static_cast<int>(least(kLanes, grid.out_columns - q)));
    for (int t = 0; t < taps; ++t) {
      const int64_t begin = most(0, least(within[t].begin - q, kLanes));
      const int64_t end = most(begin, least(within[t].end - q, kLanes));
      const float* x = x_row + q * columns.stride + columns.first + (j + t) * columns.step;
      sums[t] = fma(dy, read_lanes(x, lane_range(begin, end), columns.stride), sums[t]);
    }
  }
}

/// Tile: a channel of dy.
void weight_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<DepthwiseParams>(params);
  const ConvShape& s = p.shape;
  const ConvGrid& grid = p.grid;
  const int64_t channels = s.groups * s.out, pixels = s.y_rows * s.y_columns;
  float* dw = static_cast<float*>(operands[2]) + tile * s.tap_rows * s.tap_columns;
  for (int64_t i = 0; i < s.tap_rows; ++i) {
    for (int64_t j = 0; j < s.tap_columns; j += kTapsAtOnce) {
      const int taps = static_cast<int>(least(kTapsAtOnce, s.tap_columns - j));
      Lanes sums[kTapsAtOnce];
      for (Lanes& sum : sums) sum = spread(0.0F);
      for (int64_t image = 0; image < s.batch; ++image) {
        const float* x = static_cast<const float*>(operands[0]) +
                         (image * s.groups + tile / s.out) * s.x_rows * s.x_columns;
        const float* dy =
            static_cast<const float*>(operands[1]) + (image * channels + tile) * pixels;
        int64_t row = grid.row_taps.first + i * grid.row_taps.step;
        for (int64_t r = 0; r < s.y_rows; ++r, row += grid.row_taps.stride, dy += s.y_columns) {
          if (row >= 0 && row < s.x_rows) add_row(grid, x + row * s.x_columns, dy, j, taps, sums);
        }
      }
      for (int t = 0; t < taps; ++t) *dw++ = sum_of(sums[t]);
    }
  }
}

}  // namespace

void emit_depthwise_weight(const ConvShape& shape, Emitter& emit) {
  const DepthwiseParams p = {shape, forward_grid(shape)};
  emit_step(emit, weight_tile, p, shape.groups * shape.out,
            conv_products(shape) * 2.0 / kWidth + 100.0);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
