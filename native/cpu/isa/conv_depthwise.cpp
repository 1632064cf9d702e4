// Convolutions whose groups have one channel: each plane of y is a sum of shifted planes, some
// vectors of a row at once.
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

void sum_plane(const DepthwiseParams& p, const float* plane, const float* weights, float start,
               float* out, float* copy) {
  const ConvGrid& grid = p.product.grid;
  for (int64_t first = 0; first < grid.out_rows; first += p.rows.out_rows) {
    copy_rows(grid, p.rows, plane, first, copy);
    const int64_t rows = least(p.rows.out_rows, grid.out_rows - first);
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
  const double plane = 50.0 + pixels * (0.2 + taps * 0.6 / kWidth);
  constexpr double kTileNanoseconds = 10000.0;
  const double fit = kTileNanoseconds / plane;
  p.planes_per_tile = fit < 1.0 ? 1 : static_cast<int64_t>(fit);
  emit_step(emit, depthwise_tile, p, ceil_div(p.out_planes, p.planes_per_tile),
            plane * static_cast<double>(p.out_planes));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
