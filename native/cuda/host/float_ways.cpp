#include "cuda/host/float_ways.h"

#include <algorithm>

#include "cuda/host/products.h"

namespace tandem::cuda {
namespace {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Rows and columns are counted in 32 bits.
bool fits(const Product& p) {
  constexpr int64_t kMost = int64_t{1} << 30;
  const int64_t most = std::max({p.m, p.n, p.k, p.batch});
  const int64_t least = std::min({p.m, p.n, p.k, p.batch});
  return p.type == ProductType::kFloat32 && !p.adds && least > 0 && most <= kMost;
}

}  // namespace

std::vector<FloatWay> float_ways(const Product& product, const FloatDevice& device) {
  constexpr int64_t kMostRounds = 8;   // tiles for each multiprocessor
  constexpr int64_t kSplitRounds = 4;  // the same of pieces: more would only be more to add up
  std::vector<FloatWay> ways;
  if (!fits(product)) return ways;
  for (const FloatTile tile : {FloatTile::k32x32, FloatTile::k64x64}) {
    const int64_t side = tile_side(tile);
    const int64_t many = kMostRounds * device.multiprocessors;
    const int64_t across = ceil_div(product.m, side);
    const int64_t along = ceil_div(product.n, side);
    if (across > many || along > many || product.batch > many) continue;
    const int64_t tiles = across * along * product.batch;
    if (tiles > many) continue;
    for (int32_t splits = 1; splits <= device.most_splits; splits *= 2) {
      if (splits > ceil_div(product.k, kFloatDepth)) break;
      if (splits > 1 && tiles * splits > kSplitRounds * device.multiprocessors) break;
      ways.push_back({tile, splits});
    }
  }
  return ways;
}

}  // namespace tandem::cuda
