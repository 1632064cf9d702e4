// Few tiles leave lanes empty that hold one tile each. Here lanes hold channels, and the products
// of the positions are [tiles, in] * [in, out]: the rows of a register kernel are tiles, of which
// any number will do. For images whose pixels come out as the maxima of their tiles.
#include "cpu/isa/register_product.h"
#include "cpu/isa/transpose_lanes.h"
#include "cpu/isa/winograd.h"
#include "cpu/isa/winograd_lanes.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

constexpr int64_t kMostFewTiles = 128;
// Whole panels of rows, in about 14 rows.
constexpr int64_t kBlockTiles = 14 / kPanelRows * kPanelRows;

struct FewParams {
  GatheredProduct product;
  TileGrid grid;
  GemmParts blocks;                        // of the tiles of an image
  int64_t columns;                         // of pixels that tiles read, padding included
  int64_t tiles_step, result_step;         // floats between positions
  int64_t tiles_at, result_at, maxima_at;  // in the scratch memory, behind the pixels
  int32_t weights;                         // operand: [position][panel][in][kPanelColumns]
};

struct FewWeights {
  int64_t rows, channels;
  int32_t from, to;
};

// Tile: the weights of a register of channels of y.
void weights_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<FewWeights>(params);
  const int64_t row = tile * kLanes;
  const auto* w = static_cast<const float*>(operands[p.from]) + row * p.channels * 9;
  float* out = static_cast<float*>(operands[p.to]) +
               row / kPanelColumns * p.channels * kPanelColumns + row % kPanelColumns;
  for (int64_t c = 0; c < p.channels; ++c)
    transform_weights(w + c * 9, p.channels * 9, false, kLanes, out + c * kPanelColumns,
                      p.rows * p.channels);
}

int32_t emit_weights(const GatheredProduct& product, Emitter& emit) {
  constexpr uint64_t kLayout = 6;
  FewWeights p = {product.rows, product.channels, 0, 1};
  const int64_t floats = kPositions * p.rows * p.channels;
  const int frozen =
      emit.frozen(1, kLayout, weights_tile, &p, sizeof p, p.rows / kLanes, floats * int64_t{4});
  if (frozen >= 0) return frozen;
  p.from = 1;
  p.to = emit.workspace(floats * 4);
  emit_step(emit, weights_tile, p, p.rows / kLanes, 20.0 + 0.2 * static_cast<double>(floats));
  return p.to;
}

/// A row of pixels with what padding adds, channels last.
void turn_row(const FewParams& p, const float* planes, int64_t row, float* out) {
  const TileGrid& grid = p.grid;
  const int64_t channels = p.product.channels, plane = grid.rows * grid.columns;
  const auto clear = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * channels; i < end * channels; i += kLanes)
      store(out + i, spread(0.0F));
  };
  if (row < 0 || row >= grid.rows) {
    clear(0, p.columns);
    return;
  }
  const int64_t left = grid.padding_columns, count = least(grid.columns, p.columns - left);
  clear(0, left);
  clear(left + count, p.columns);
  for (int64_t q = 0; q < count; q += kLanes) {
    const int some = static_cast<int>(least(kLanes, count - q));
    float* to = out + (left + q) * channels;
    for (int64_t c = 0; c < channels; c += kLanes) {
      const float* from = planes + c * plane + row * grid.columns + q;
      Lanes x[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) x[i] = load_lanes(from + i * plane, some);
      transpose(x);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        if (i < some) store(to + i * channels + c, x[i]);
      }
    }
  }
}

/// Numbers [position][tile][channel] of the tiles [first, last) from the rows of pixels from that
/// of tile row `top` on.
void transform_tiles(const FewParams& p, const float* pixels, int64_t top, const Range& tiles,
                     float* out) {
  const int64_t channels = p.product.channels, row = p.columns * channels;
  int64_t r = tiles.begin / p.grid.tile_columns - top, q = tiles.begin % p.grid.tile_columns;
  for (int64_t t = tiles.begin; t < tiles.end; ++t, out += channels) {
    const float* from = pixels + 2 * r * row + 2 * q * channels;
    for (int64_t c = 0; c < channels; c += kLanes) {
      Lanes d[4][4];
#pragma GCC unroll 4
      for (int64_t i = 0; i < 4; ++i) {
#pragma GCC unroll 4
        for (int64_t j = 0; j < 4; ++j) d[i][j] = load_lanes(from + i * row + j * channels + c);
        spread_pixels(d[i][0], d[i][1], d[i][2], d[i][3]);
      }
#pragma GCC unroll 4
      for (int64_t j = 0; j < 4; ++j) {
        spread_pixels(d[0][j], d[1][j], d[2][j], d[3][j]);
#pragma GCC unroll 4
        for (int64_t i = 0; i < 4; ++i) store(out + (4 * i + j) * p.tiles_step + c, d[i][j]);
      }
    }
    if (++q == p.grid.tile_columns) {
      q = 0;
      ++r;
    }
  }
}

void multiply_tiles(const FewParams& p, const float* tiles, const float* weights, int64_t count,
                    float* result) {
  const int64_t channels = p.product.channels, rows = p.product.rows;
  const GemmParts panels = cut(count, ceil_div(count, kPanelRows));
  PanelProduct product = {};
  product.a_row = product.k = channels;
  product.a_k = 1;
  product.c_row = rows;
  for (int64_t i = 0; i < kPositions; ++i) {
    for (int64_t j = 0; j < rows; j += kPanelColumns) {
      product.b = weights + (i * rows + j) * channels;
      for (int64_t panel = 0; panel < panels.count; ++panel) {
        const int64_t first = part_start(panels, panel);
        product.rows = part_start(panels, panel + 1) - first;
        product.a = tiles + i * p.tiles_step + first * channels;
        product.c = result + i * p.result_step + first * rows + j;
        multiply_packed(product, {kPanelColumns, channels}, kPanelColumns);
      }
    }
  }
}

/// Maxima [tile][channel] of the pixels of tiles.
void take_maxima(const FewParams& p, const float* result, const float* bias, int64_t count,
                 float* out) {
  const int64_t rows = p.product.rows;
  const Lanes floor = spread(p.product.relu ? 0.0F : -__builtin_inff());
  for (int64_t i = 0; i < count * rows; i += rows) {
    for (int64_t c = 0; c < rows; c += kLanes) {
      Lanes y[4];
      pixels_of(result + i + c, p.result_step, y);
      const Lanes start = bias != nullptr ? load_lanes(bias + c) : spread(0.0F);
      store(out + i + c, greater_of(floor, largest_of(y) + start));
    }
  }
}

/// To planes `plane` floats apart.
void turn_maxima(const float* maxima, int64_t count, int64_t rows, float* y, int64_t plane) {
  for (int64_t t = 0; t < count; t += kLanes) {
    const int some = static_cast<int>(least(kLanes, count - t));
    for (int64_t c = 0; c < rows; c += kLanes) {
      Lanes x[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i)
        x[i] = i < some ? load_lanes(maxima + (t + i) * rows + c) : spread(0.0F);
      transpose(x);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) store_lanes(y + (c + i) * plane + t, x[i], some);
    }
  }
}

void few_tile(const void* params, void* const* operands, int64_t tile, const TileContext& context) {
  const auto& p = params_of<FewParams>(params);
  const GatheredProduct& product = p.product;
  const TileGrid& grid = p.grid;
  auto* scratch = static_cast<float*>(context.scratch);
  const int64_t image = tile / p.blocks.count, block = tile % p.blocks.count;
  const Range tiles = {part_start(p.blocks, block), part_start(p.blocks, block + 1)};
  const int64_t count = tiles.end - tiles.begin;
  const int64_t top = tiles.begin / grid.tile_columns;
  const int64_t rows = 2 * ((tiles.end - 1) / grid.tile_columns - top) + 4;
  const float* planes = static_cast<const float*>(operands[product.planes]) +
                        image * product.channels * grid.rows * grid.columns;
  for (int64_t r = 0; r < rows; ++r)
    turn_row(p, planes, 2 * top - grid.padding_rows + r,
             scratch + r * p.columns * product.channels);
  transform_tiles(p, scratch, top, tiles, scratch + p.tiles_at);
  multiply_tiles(p, scratch + p.tiles_at, static_cast<const float*>(operands[p.weights]), count,
                 scratch + p.result_at);
  const auto* bias =
      product.bias >= 0 ? static_cast<const float*>(operands[product.bias]) : nullptr;
  take_maxima(p, scratch + p.result_at, bias, count, scratch + p.maxima_at);
  const int64_t plane = grid.tile_rows * grid.tile_columns;
  turn_maxima(scratch + p.maxima_at, count, product.rows,
              static_cast<float*>(operands[product.y]) + image * product.rows * plane + tiles.begin,
              plane);
}

}  // namespace

bool has_few_tiles(const ConvShape& s, const TileGrid& grid) {
  return !s.bf16 && s.in % kLanes == 0 && s.out % kPanelColumns == 0 &&
         s.batch * grid.tile_rows * grid.tile_columns <= kMostFewTiles;
}

void emit_few_tiles(const GatheredProduct& product, const TileGrid& grid, Emitter& emit) {
  FewParams p = {};
  p.product = product;
  p.grid = grid;
  p.columns = 2 * grid.tile_columns + 2;
  const int64_t tiles = grid.tile_rows * grid.tile_columns;
  p.blocks = cut(tiles, ceil_div(tiles, kBlockTiles));
  const int64_t block = ceil_div(tiles, p.blocks.count);
  // Tiles of a block touch one row of tiles more than they fill.
  const int64_t rows = 2 * least(grid.tile_rows, (block - 1) / grid.tile_columns + 2) + 2;
  const auto apart = [](int64_t floats) { return round_up(floats, 1024) + 16; };
  p.tiles_step = apart(block * product.channels);
  p.result_step = apart(block * product.rows);
  p.tiles_at = round_up(rows * p.columns * product.channels, 16);
  p.result_at = p.tiles_at + kPositions * p.tiles_step;
  p.maxima_at = p.result_at + kPositions * p.result_step;
  emit.scratch((p.maxima_at + block * product.rows) * 4);
  p.weights = emit_weights(product, emit);
  constexpr double kProductsPerNanosecond = 2.5 * kWidth;
  const auto in = static_cast<double>(product.channels);
  const auto out = static_cast<double>(product.rows);
  const double cost = static_cast<double>(product.batch * tiles) *
                      (16.0 * in * out / kProductsPerNanosecond + (in + out) * 32.0 / kWidth);
  emit_step(emit, few_tile, p, product.batch * p.blocks.count, cost);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
