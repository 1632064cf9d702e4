// How kernels and measurements use the tile registers of AMX.
#pragma once

#include <cstdint>

namespace tandem::cpu {

inline constexpr int kTileRows = 16, kTileBytes = 64;

/// The operand of ldtilecfg: all eight tiles are whole.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {kTileBytes, kTileBytes, kTileBytes, kTileBytes,
                            kTileBytes, kTileBytes, kTileBytes, kTileBytes};
  uint8_t rows[16] = {kTileRows, kTileRows, kTileRows, kTileRows,
                      kTileRows, kTileRows, kTileRows, kTileRows};
};

}  // namespace tandem::cpu
