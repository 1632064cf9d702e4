// Tiles of pixels to the positions of winograd.h and back, a vector of neighbouring tiles at a
// time.
#include "cpu/isa/winograd.h"
#include "cpu/isa/winograd_lanes.h"
#include "cpu/isa/winograd_taps.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

#if defined(TANDEM_ISA_AVX512)
TANDEM_INLINE void interleave(Lanes even, Lanes odd, Lanes& low, Lanes& high) {
  const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i second =
      _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  low.v = _mm512_permutex2var_ps(even.v, first, odd.v);
  high.v = _mm512_permutex2var_ps(even.v, second, odd.v);
}
#elif defined(TANDEM_ISA_AVX2)
TANDEM_INLINE void interleave(Lanes even, Lanes odd, Lanes& low, Lanes& high) {
  const __m256 a = _mm256_unpacklo_ps(even.v, odd.v), b = _mm256_unpackhi_ps(even.v, odd.v);
  low.v = _mm256_permute2f128_ps(a, b, 0x20);
  high.v = _mm256_permute2f128_ps(a, b, 0x31);
}
#else
TANDEM_INLINE void interleave(Lanes even, Lanes odd, Lanes& low, Lanes& high) {
  for (int i = 0; i < kLanes; ++i) {
    Lanes& to = i < kLanes / 2 ? low : high;
    to.lane[2 * i % kLanes] = even.lane[i];
    to.lane[2 * i % kLanes + 1] = odd.lane[i];
  }
}
#endif

/// A dy of two numbers.
TANDEM_INLINE void spread_gradients(Lanes y0, Lanes y1, Lanes (&out)[4]) {
  out[0] = y0;
  out[1] = y0 + y1;
  out[2] = minus(y0, y1);
  out[3] = minus(spread(0.0F), y1);
}

/// Calls visit(image, tile_row, t) for the rows of tiles of a block; t counts the tiles before it.
template <typename Visit>
TANDEM_INLINE void each_row(const TileGrid& grid, const TileBlocks& blocks, int64_t block,
                            Visit visit) {
  const Range rows = piece(block, blocks.block_rows, blocks.total_rows);
  int64_t image = rows.begin / grid.tile_rows, row = rows.begin % grid.tile_rows;
  int64_t t = 0;
  for (int64_t r = rows.begin; r < rows.end; ++r, t += grid.tile_columns) {
    visit(image, row, t);
    if (++row == grid.tile_rows) {
      row = 0;
      ++image;
    }
  }
}

TANDEM_INLINE Lanes load_pixels(const float* row, uint32_t lanes) {
  return load_strided(row, lanes, 2);
}

/// Zeros for the columns that no tile has: by what scratch held before, sums might not be finite,
/// and products of split floats compute these by another way, with all that are near them.
void clear_pixels(const TileBlocks& blocks, int64_t first, int64_t last, float* pixels) {
  for (int64_t i = 0; i < kPositions; ++i, pixels += blocks.row)
    for (int64_t t = first; t < last; ++t) pixels[t] = 0.0F;
}

}  // namespace

void transform_planes(const TileGrid& grid, const TileBlocks& blocks, int64_t block,
                      const float* planes, int64_t channels, float* out, float* pixels) {
  const int64_t plane = grid.rows * grid.columns, step = position_step(blocks, channels);
  const int64_t tiles = tiles_of_block(grid, blocks, block), columns = whole_panels(tiles);
  clear_pixels(blocks, tiles, columns, pixels);
  for (int64_t c = 0; c < channels; ++c, out += blocks.row) {
    for (int64_t q = 0; q < grid.tile_columns; q += kLanes) {
      const int count = static_cast<int>(least(kLanes, grid.tile_columns - q));
      const int64_t left = 2 * q - grid.padding_columns;
      uint32_t lanes[4];
      for (int64_t j = 0; j < 4; ++j) lanes[j] = lanes_of_pairs(left + j, grid.columns, count);
      each_row(grid, blocks, block, [&](int64_t image, int64_t row, int64_t t) {
        const int64_t top = 2 * row - grid.padding_rows;
        const float* x = planes + (image * channels + c) * plane + top * grid.columns + left;
#pragma GCC unroll 4
        for (int64_t i = 0; i < 4; ++i, x += grid.columns) {
          const bool inside = top + i >= 0 && top + i < grid.rows;
#pragma GCC unroll 4
          for (int64_t j = 0; j < 4; ++j) {
            const Lanes d = inside ? load_pixels(x + j, lanes[j]) : spread(0.0F);
            store_lanes(pixels + (4 * i + j) * blocks.row + t + q, d, count);
          }
        }
      });
    }
    for (int64_t t = 0; t < columns; t += kLanes) {
      Lanes d[4][4];
#pragma GCC unroll 4
      for (int64_t i = 0; i < 4; ++i) {
#pragma GCC unroll 4
        for (int64_t j = 0; j < 4; ++j) d[i][j] = load_lanes(pixels + (4 * i + j) * blocks.row + t);
        spread_pixels(d[i][0], d[i][1], d[i][2], d[i][3]);
      }
#pragma GCC unroll 4
      for (int64_t j = 0; j < 4; ++j) {
        spread_pixels(d[0][j], d[1][j], d[2][j], d[3][j]);
#pragma GCC unroll 4
        for (int64_t i = 0; i < 4; ++i) store(out + (4 * i + j) * step + t, d[i][j]);
      }
    }
  }
}

void transform_gradients(const TileGrid& grid, const TileBlocks& blocks, int64_t block,
                         const float* planes, int64_t channels, float* out, float* pixels) {
  const int64_t plane = grid.out_rows * grid.out_columns, step = position_step(blocks, channels);
  const int64_t tiles = tiles_of_block(grid, blocks, block);
  for (int64_t c = 0; c < channels; ++c, out += blocks.row) {
    for (int64_t q = 0; q < grid.tile_columns; q += kLanes) {
      const int count = static_cast<int>(least(kLanes, grid.tile_columns - q));
      const uint32_t even = lanes_of_pairs(2 * q, grid.out_columns, count);
      const uint32_t odd = lanes_of_pairs(2 * q + 1, grid.out_columns, count);
      each_row(grid, blocks, block, [&](int64_t image, int64_t row, int64_t t) {
        const float* dy =
            planes + (image * channels + c) * plane + 2 * row * grid.out_columns + 2 * q;
        const float* below = dy + grid.out_columns;
        const bool second = 2 * row + 1 < grid.out_rows;
        float* to = pixels + t + q;
        store_lanes(to, load_pixels(dy, even), count);
        store_lanes(to + blocks.row, load_pixels(dy + 1, odd), count);
        store_lanes(to + 2 * blocks.row, second ? load_pixels(below, even) : spread(0.0F), count);
        store_lanes(to + 3 * blocks.row, second ? load_pixels(below + 1, odd) : spread(0.0F),
                    count);
      });
    }
    for (int64_t t = 0; t < tiles; t += kLanes) {
      const float* from = pixels + t;
      Lanes columns[2][4];
#pragma GCC unroll 2
      for (int64_t j = 0; j < 2; ++j)
        spread_gradients(load_lanes(from + j * blocks.row), load_lanes(from + (2 + j) * blocks.row),
                         columns[j]);
#pragma GCC unroll 4
      for (int64_t i = 0; i < 4; ++i) {
        Lanes d[4];
        spread_gradients(columns[0][i], columns[1][i], d);
#pragma GCC unroll 4
        for (int64_t j = 0; j < 4; ++j) store(out + (4 * i + j) * step + t, d[j]);
      }
    }
  }
}

namespace {

/// One row of pixels from its even and odd columns.
TANDEM_INLINE void store_pixels(float* to, Lanes even, Lanes odd, int64_t count) {
  Lanes low = spread(0.0F), high = low;
  interleave(even, odd, low, high);
  store_lanes(to, low, static_cast<int>(least(count, kLanes)));
  if (count > kLanes) store_lanes(to + kLanes, high, static_cast<int>(count - kLanes));
}

}  // namespace

void restore_planes(const TileGrid& grid, const TileBlocks& blocks, int64_t block,
                    const float* matrices, int64_t channels, const GemmEpilogue& epilogue,
                    const PixelTarget& target, float* pixels) {
  const int64_t plane = grid.out_rows * grid.out_columns, step = position_step(blocks, channels);
  const int64_t tiles = tiles_of_block(grid, blocks, block);
  const bool adds = target.residual != nullptr;
  const bool relu = epilogue.activation == GEMM_ACT_RELU && target.sums == target.y && !adds;
  const Lanes floor = spread(relu ? 0.0F : -__builtin_inff());
  const bool after = epilogue.activation != GEMM_ACT_NONE && !relu;
  for (int64_t c = 0; c < channels; ++c) {
    const Lanes bias = spread(target.bias != nullptr ? target.bias[c] : 0.0F);
    for (int64_t t = 0; t < tiles; t += kLanes) {
      Lanes y[4];
      pixels_of(matrices + c * blocks.row + t, step, y);
#pragma GCC unroll 4
      for (int64_t i = 0; i < 4; ++i)
        store(pixels + i * blocks.row + t, greater_of(floor, y[i] + bias));
    }
    each_row(grid, blocks, block, [&](int64_t image, int64_t row, int64_t t) {
      const int64_t rows = least(2, grid.out_rows - 2 * row);
      const int64_t at = (image * channels + c) * plane + 2 * row * grid.out_columns;
      float* sums = target.sums + at;
      for (int64_t q = 0; q < grid.tile_columns; q += kLanes) {
        const int count = static_cast<int>(least(kLanes, grid.tile_columns - q));
        const int64_t width = most(1, least(2 * kLanes, grid.out_columns - 2 * q));
        for (int64_t i = 0; i < rows; ++i) {
          const float* from = pixels + 2 * i * blocks.row + t + q;
          store_pixels(sums + i * grid.out_columns + 2 * q, load_lanes(from, count),
                       load_lanes(from + blocks.row, count), width);
        }
      }
      if (adds) {
        add_and_activate(epilogue, target.residual + at, target.y + at, rows * grid.out_columns);
      } else if (after) {
        activate_row(epilogue, sums, target.y + at, rows * grid.out_columns);
      }
    });
  }
}

void restore_maxima(const TileGrid& grid, const TileBlocks& blocks, int64_t block,
                    const float* matrices, int64_t channels, bool relu, const float* bias, float* y,
                    float* pixels) {
  const int64_t plane = grid.tile_rows * grid.tile_columns, step = position_step(blocks, channels);
  const int64_t tiles = tiles_of_block(grid, blocks, block);
  const Lanes floor = spread(relu ? 0.0F : -__builtin_inff());
  for (int64_t c = 0; c < channels; ++c) {
    const Lanes start = spread(bias != nullptr ? bias[c] : 0.0F);
    for (int64_t t = 0; t < tiles; t += kLanes) {
      Lanes four[4];
      pixels_of(matrices + c * blocks.row + t, step, four);
      store(pixels + t, greater_of(floor, largest_of(four) + start));
    }
    each_row(grid, blocks, block, [&](int64_t image, int64_t row, int64_t t) {
      float* to = y + (image * channels + c) * plane + row * grid.tile_columns;
      for (int64_t q = 0; q < grid.tile_columns; q += kLanes) {
        const int count = static_cast<int>(least(kLanes, grid.tile_columns - q));
        store_lanes(to + q, load_lanes(pixels + t + q, count), count);
      }
    });
  }
}

void transform_weights(const float* w, int64_t w_step, bool turned, int64_t count, float* out,
                       int64_t step) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int some = static_cast<int>(least(kLanes, count - i));
    Lanes taps[kTaps], rows[4][3];
    load_taps(w + i * w_step, w_step, some, taps);
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
      const auto tap = [&](int row) { return taps[turned ? 8 - (3 * row + j) : 3 * row + j]; };
      spread_taps(tap(0), tap(1), tap(2), rows[0][j], rows[1][j], rows[2][j], rows[3][j]);
    }
#pragma GCC unroll 4
    for (int64_t row = 0; row < 4; ++row) {
      Lanes y[4];
      spread_taps(rows[row][0], rows[row][1], rows[row][2], y[0], y[1], y[2], y[3]);
#pragma GCC unroll 4
      for (int64_t j = 0; j < 4; ++j) store_lanes(out + i + (4 * row + j) * step, y[j], some);
    }
  }
}

void restore_weights(const float* numbers, int64_t step, int64_t count, float* dw) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int some = static_cast<int>(least(kLanes, count - i));
    Lanes rows[3][4], taps[kTaps];
#pragma GCC unroll 4
    for (int64_t j = 0; j < 4; ++j) {
      const auto at = [&](int64_t row) {
        return load_lanes(numbers + i + (4 * row + j) * step, some);
      };
      sum_taps(at(0), at(1), at(2), at(3), rows[0][j], rows[1][j], rows[2][j]);
    }
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j)
      sum_taps(rows[j][0], rows[j][1], rows[j][2], rows[j][3], taps[3 * j], taps[3 * j + 1],
               taps[3 * j + 2]);
    store_taps(taps, some, dw + i * kTaps);
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
