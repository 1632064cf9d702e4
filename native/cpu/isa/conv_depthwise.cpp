// Convolutions whose groups have one channel: each plane of y is a sum of shifted planes, a row at
// a time and several vectors of it at once.
#include "cpu/isa/conv.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

struct DepthwiseParams {
  GatheredProduct product;
  int64_t planes_per_tile, out_planes;
};

/// Vectors of a row that are summed up together.
constexpr int kVectors = 4;

/// What the taps of one output row read, and where the row goes.
struct RowTask {
  const ConvGrid* grid;
  const float* plane;
  const float* weights;
  float* out;
  float start;
  int64_t first_row;  // of the plane, for tap 0
};

template <bool strided>
TANDEM_INLINE Lanes read_pixels(const float* row, int64_t q, const PixelRange& within,
                                int64_t stride) {
  const int64_t begin = most(within.begin - q, 0), end = least(within.end - q, kLanes);
  if (begin >= end) return spread(0.0F);
  if (!strided && begin == 0 && end == kLanes) return load_lanes(row + q);
  const uint32_t lanes = lane_range(begin, end);
  return strided ? load_strided(row + q * stride, lanes, stride) : load_lanes_of(row + q, lanes);
}

template <bool strided, int vectors>
TANDEM_INLINE void sum_vectors(const RowTask& t, int64_t q) {
  const ConvGrid& grid = *t.grid;
  const WindowTaps& columns = grid.column_taps;
  Lanes acc[vectors];
  for (int v = 0; v < vectors; ++v) acc[v] = spread(t.start);
  const float* weights = t.weights;
  for (int64_t i = 0; i < grid.row_taps.count; ++i) {
    const int64_t from = t.first_row + i * grid.row_taps.step;
    if (from < 0 || from >= grid.rows) {
      weights += columns.count;
      continue;
    }
    const float* row = t.plane + from * grid.columns + columns.first;
    for (int64_t j = 0; j < columns.count; ++j, row += columns.step) {
      const PixelRange within = pixels_within(columns, j, grid.columns, grid.out_columns);
      const Lanes weight = spread(*weights++);
      for (int v = 0; v < vectors; ++v) {
        acc[v] =
            fma(weight, read_pixels<strided>(row, q + v * kLanes, within, columns.stride), acc[v]);
      }
    }
  }
  for (int v = 0; v < vectors; ++v) {
    const int64_t at = q + v * kLanes;
    store_lanes(t.out + at, acc[v], static_cast<int>(least(kLanes, grid.out_columns - at)));
  }
}

template <bool strided>
void sum_row(const RowTask& t) {
  const int64_t columns = t.grid->out_columns;
  int64_t q = 0;
  for (; columns - q > (kVectors - 1) * kLanes; q += kVectors * kLanes)
    sum_vectors<strided, kVectors>(t, q);
  for (; q < columns; q += kLanes) sum_vectors<strided, 1>(t, q);
}

void depthwise_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<DepthwiseParams>(params);
  const GatheredProduct& product = p.product;
  const ConvGrid& grid = product.grid;
  const int64_t channels = product.groups * product.rows;  // of an output image
  const int64_t pixels = grid.out_rows * grid.out_columns;
  const int64_t taps = grid.row_taps.count * grid.column_taps.count;
  const auto* bias =
      product.bias >= 0 ? static_cast<const float*>(operands[product.bias]) : nullptr;
  const GemmEpilogue epilogue = epilogue_of(product);
  const Range range = piece(tile, p.planes_per_tile, p.out_planes);
  for (int64_t plane = range.begin; plane < range.end; ++plane) {
    const int64_t channel = plane % channels;
    float* y = static_cast<float*>(operands[product.y]) + plane * pixels;
    float* sums =
        product.pre >= 0 ? static_cast<float*>(operands[product.pre]) + plane * pixels : y;
    RowTask task = {&grid,
                    static_cast<const float*>(operands[product.planes]) +
                        plane / product.rows * grid.rows * grid.columns,
                    static_cast<const float*>(operands[product.a]) + channel * taps,
                    sums,
                    bias != nullptr ? bias[channel] : 0.0F,
                    grid.row_taps.first};
    for (int64_t r = 0; r < grid.out_rows; ++r) {
      if (grid.column_taps.stride == 1)
        sum_row<false>(task);
      else
        sum_row<true>(task);
      task.out += grid.out_columns;
      task.first_row += grid.row_taps.stride;
    }
    activate_row(epilogue, sums, y, pixels);
  }
}

}  // namespace

void emit_depthwise(const GatheredProduct& product, Emitter& emit) {
  DepthwiseParams p = {};
  p.product = product;
  p.out_planes = product.batch * product.groups * product.rows;
  const ConvGrid& grid = product.grid;
  const double pixels = static_cast<double>(grid.out_rows) * static_cast<double>(grid.out_columns);
  const double taps = static_cast<double>(grid.row_taps.count * grid.column_taps.count);
  const double plane = 20.0 + pixels * (0.2 + taps * 1.0 / kWidth);
  constexpr double kTileNanoseconds = 10000.0;
  const double fit = kTileNanoseconds / plane;
  p.planes_per_tile = fit < 1.0 ? 1 : static_cast<int64_t>(fit);
  emit_step(emit, depthwise_tile, p, ceil_div(p.out_planes, p.planes_per_tile),
            plane * static_cast<double>(p.out_planes));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
