// How a kernel of our own may cut a product of floats: tiles of the result, and pieces of the sums
// that the blocks of a cluster add up. Knows no CUDA.
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

namespace tandem::cuda {

struct Product;

/// Rows and columns of the result that a block has.
enum class FloatTile : uint8_t { k32x32, k64x64 };

constexpr int64_t tile_side(FloatTile tile) { return tile == FloatTile::k32x32 ? 32 : 64; }

/// `splits` blocks share a tile, each a piece of the sums: 1, 2, 4 or 8; 0 for no way at all.
struct FloatWay {
  FloatTile tile = FloatTile::k32x32;
  int32_t splits = 0;
  // NOLINTNEXTLINE(modernize-use-nullptr): the check takes the comparison's own zero for a pointer
  auto operator<=>(const FloatWay&) const = default;
};

/// Summands of a stage: pieces of sums begin at multiples of it.
inline constexpr int64_t kFloatDepth = 32;

/// What the ways ask of a device.
struct FloatDevice {
  int32_t multiprocessors = 0;  ///< 0 where its kernels have no such product
  int32_t most_splits = 1;      ///< blocks of a cluster
};

/// Those that may be the fastest for a product; none where it is not one of floats, or so large
/// that blocks without a share of a device are no concern.
std::vector<FloatWay> float_ways(const Product& product, const FloatDevice& device);

}  // namespace tandem::cuda
