// Convolutions whose groups have one channel: each plane of y is a sum of shifted planes. Where
// taps are neighbours and windows move by one pixel, some vectors of some rows at once, so that
// what is read serves all rows; otherwise some vectors of one row.
#include "cpu/isa/conv_rows.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

// Of padded rows: with the rows of output beside them they stay in the L1, or nearly so.
constexpr int64_t kRowFloats = 6 * 1024;
/// Vectors of a row that are summed up together: they hide the latency of each other.
constexpr int kVectors = 4;

struct DepthwiseParams {
  GatheredProduct product;
  PaddedRows rows;
  int64_t planes_per_tile, out_planes;
};

template <bool strided, int vectors>
TANDEM_INLINE void sum_vectors(const DepthwiseParams& p, const float* copy, const float* weights,
                               float start, float* out, int64_t left) {
  const ConvGrid& grid = p.product.grid;
  const int64_t stride = grid.column_taps.stride;
  Lanes acc[vectors];
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) acc[v] = spread(start);
  for (int64_t i = 0; i < grid.row_taps.count; ++i) {
    const float* x = copy + tap_offset(grid, p.rows, i, 0);
    for (int64_t j = 0; j < grid.column_taps.count; ++j, x += grid.column_taps.step) {
      const Lanes weight = spread(*weights++);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        const float* at = x + v * kLanes * (strided ? stride : 1);
        acc[v] =
            fma(weight, strided ? load_strided(at, kAllLanes, stride) : load_lanes(at), acc[v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v)
    store_lanes(out + v * kLanes, acc[v], static_cast<int>(least(kLanes, left - v * kLanes)));
}

template <bool strided>
void sum_row(const DepthwiseParams& p, const float* copy, const float* weights, float start,
             float* out) {
  const int64_t columns = p.product.grid.out_columns, stride = p.product.grid.column_taps.stride;
  int64_t q = 0;
  for (; columns - q > (kVectors - 1) * kLanes; q += kVectors * kLanes)
    sum_vectors<strided, kVectors>(p, copy + q * stride, weights, start, out + q, columns - q);
  for (; q < columns; q += kLanes)
    sum_vectors<strided, 1>(p, copy + q * stride, weights, start, out + q, columns - q);
}

/// Taps as copied rows have them, top left first.
constexpr int64_t kMostTaps = 81;
struct Correlation {
  int64_t tap_rows, tap_columns;
  int64_t x_row, out_row;
  const float *next, *next_out;  // the same of the next plane
  int64_t next_row;
  float start;
  float taps[kMostTaps];
};

/// R rows of V vectors of output; of R rows and their neighbours, each vector is read once a column
/// of taps. `height` and `width`: of the taps, where they are known; else 0.
template <int height, int width, int R, int V>
TANDEM_INLINE void correlate(const Correlation& c, const float* x, float* out, int64_t left) {
  const int64_t tap_rows = height > 0 ? height : c.tap_rows;
  const int64_t tap_columns = width > 0 ? width : c.tap_columns;
  Lanes acc[R][V];
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[i][v] = spread(c.start);
  }
#pragma GCC unroll 8
  for (int64_t r = 0; r < R + tap_rows - 1; ++r) {
#pragma GCC unroll 8
    for (int64_t j = 0; j < tap_columns; ++j) {
      const float* from = x + r * c.x_row + j;
      Lanes read[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) read[v] = load_lanes(from + v * kLanes);
#pragma GCC unroll 4
      for (int i = 0; i < R; ++i) {
        if (r < i || r - i >= tap_rows) continue;
        const Lanes tap = spread(c.taps[(r - i) * tap_columns + j]);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[i][v] = fma(tap, read[v], acc[i][v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      store_lanes(out + i * c.out_row + v * kLanes, acc[i][v],
                  static_cast<int>(least(kLanes, left - v * kLanes)));
    }
  }
}

/// Vectors of a row that are summed up together with three more rows, in registers.
constexpr int kWide = kWidth == 16 ? 4 : 2;

template <int height, int width, int R>
void correlate_rows(const Correlation& c, const float* x, float* out) {
  int64_t q = 0;
  for (; c.out_row - q > (kWide - 1) * kLanes; q += kWide * kLanes)
    correlate<height, width, R, kWide>(c, x + q, out + q, c.out_row - q);
  for (; c.out_row - q > kLanes; q += 2 * kLanes)
    correlate<height, width, R, 2>(c, x + q, out + q, c.out_row - q);
  if (q < c.out_row) correlate<height, width, R, 1>(c, x + q, out + q, c.out_row - q);
}

template <int height, int width>
void correlate_plane(const Correlation& c, const float* x, float* out, int64_t rows) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    fetch_ahead(c.next + r * c.next_row, 4 * c.next_row);
    claim_ahead(c.next_out + r * c.out_row, 4 * c.out_row);
    correlate_rows<height, width, 4>(c, x + r * c.x_row, out + r * c.out_row);
  }
  for (; r + 2 <= rows; r += 2)
    correlate_rows<height, width, 2>(c, x + r * c.x_row, out + r * c.out_row);
  if (r < rows) correlate_rows<height, width, 1>(c, x + r * c.x_row, out + r * c.out_row);
}

bool is_correlation(const ConvGrid& grid) {
  const auto dense = [](const WindowTaps& taps) {
    return taps.stride == 1 && (taps.count == 1 || taps.step == 1 || taps.step == -1);
  };
  return dense(grid.row_taps) && dense(grid.column_taps) &&
         grid.row_taps.count <= kMostTaps / grid.column_taps.count;
}

Correlation correlation_of(const ConvGrid& grid, const PaddedRows& rows, const float* weights,
                           float start) {
  Correlation c{};
  c.tap_rows = grid.row_taps.count;
  c.tap_columns = grid.column_taps.count;
  c.x_row = rows.columns;
  c.out_row = grid.out_columns;
  c.next_row = grid.columns;
  c.start = start;
  for (int64_t i = 0; i < c.tap_rows; ++i) {
    const int64_t row = grid.row_taps.step < 0 ? c.tap_rows - 1 - i : i;
    for (int64_t j = 0; j < c.tap_columns; ++j) {
      const int64_t column = grid.column_taps.step < 0 ? c.tap_columns - 1 - j : j;
      c.taps[i * c.tap_columns + j] = weights[row * c.tap_columns + column];
    }
  }
  return c;
}

void correlate_rows(const Correlation& c, const float* copy, float* out, int64_t rows) {
  if (c.tap_rows == 3 && c.tap_columns == 3) {
    correlate_plane<3, 3>(c, copy, out, rows);
  } else if (c.tap_rows == 5 && c.tap_columns == 5) {
    correlate_plane<5, 5>(c, copy, out, rows);
  } else {
    correlate_plane<0, 0>(c, copy, out, rows);
  }
}

void sum_plane(const DepthwiseParams& p, const float* plane, const float* weights, float start,
               float* out, float* copy) {
  const ConvGrid& grid = p.product.grid;
  for (int64_t first = 0; first < grid.out_rows; first += p.rows.out_rows) {
    copy_rows(grid, p.rows, plane, first, copy);
    const int64_t rows = least(p.rows.out_rows, grid.out_rows - first);
    if (is_correlation(grid)) {
      Correlation c = correlation_of(grid, p.rows, weights, start);
      c.next = plane + (grid.rows + first) * grid.columns;
      c.next_out = out + grid.out_rows * grid.out_columns;
      correlate_rows(c, copy, out, rows);
      out += rows * grid.out_columns;
      continue;
    }
    for (int64_t r = 0; r < rows; ++r, out += grid.out_columns) {
      const float* from = copy + r * grid.row_taps.stride * p.rows.columns;
      if (grid.column_taps.stride == 1)
        sum_row<false>(p, from, weights, start, out);
      else
        sum_row<true>(p, from, weights, start, out);
    }
  }
}

void depthwise_tile(const void* params, void* const* operands, int64_t tile,
                    const TileContext& context) {
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
    sum_plane(p,
              static_cast<const float*>(operands[product.planes]) +
                  plane / product.rows * grid.rows * grid.columns,
              static_cast<const float*>(operands[product.a]) + channel * taps,
              bias != nullptr ? bias[channel] : 0.0F, sums, static_cast<float*>(context.scratch));
    if (product.residual >= 0) {
      add_and_activate(epilogue,
                       static_cast<const float*>(operands[product.residual]) + plane * pixels, y,
                       pixels);
    } else {
      activate_row(epilogue, sums, y, pixels);
    }
  }
}

}  // namespace

void emit_depthwise(const GatheredProduct& product, Emitter& emit) {
  DepthwiseParams p = {};
  p.product = product;
  p.out_planes = product.batch * product.groups * product.rows;
  const ConvGrid& grid = product.grid;
  p.rows = plan_rows(grid, kRowFloats);
  emit.scratch(row_bytes(p.rows));
  const double pixels = static_cast<double>(grid.out_rows) * static_cast<double>(grid.out_columns);
  const double taps = static_cast<double>(grid.row_taps.count * grid.column_taps.count);
  const double plane = 50.0 + pixels * (0.2 + taps * (is_correlation(grid) ? 0.4 : 0.6) / kWidth);
  constexpr double kTileNanoseconds = 10000.0;
  const double fit = kTileNanoseconds / plane;
  p.planes_per_tile = fit < 1.0 ? 1 : static_cast<int64_t>(fit);
  emit_step(emit, depthwise_tile, p, ceil_div(p.out_planes, p.planes_per_tile),
            plane * static_cast<double>(p.out_planes));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
