// In which order blocks that stay take the tiles of a product: those that run at the same time
// should read few different rows of both factors, so that tiles go by bands of rows, and within a
// band column by column.
#pragma once

#include <cstdint>

#include "cuda/host/both.h"

namespace tandem::cuda {

/// A tile's number among those below and beside each other.
struct TilePlace {
  int32_t row, column;
};

inline constexpr int32_t kBandTiles = 16;  ///< rows of tiles of a band
/// A tile's number has 32 bits, even one that a whole grid lies beyond, or a band.
inline constexpr int64_t kMostTiles = int64_t{1} << 26;

/// Place of tile `i` of `rows` x `columns` tiles, of which kMostTiles are allowed.
TANDEM_BOTH TilePlace tile_place(int32_t i, int32_t rows, int32_t columns) {
  const int32_t band = i / (kBandTiles * columns);
  const int32_t first = band * kBandTiles;
  const int32_t high = rows - first < kBandTiles ? rows - first : kBandTiles;
  const int32_t within = i - first * columns;
  return {first + within % high, within / high};
}

}  // namespace tandem::cuda
