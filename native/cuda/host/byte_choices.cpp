#include "cuda/host/byte_choices.h"

#include <utility>

#include "cuda/host/byte_tiles.h"

namespace tandem::cuda {
namespace {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t blocks(const ByteShape& shape, int64_t rows, int64_t columns) {
  return ceil_div(shape.m, rows) * ceil_div(shape.n, columns);
}

/// The copy engine counts rows and columns in 32 bits.
bool fits_warpgroups(const ByteShape& shape, const ByteDevice& device) {
  constexpr int64_t kMost = int64_t{1} << 30;
  return device.warpgroups && device.shared >= warpgroup_shared(256) && shape.rows &&
         shape.m > 64 && shape.m <= kMost && shape.n <= kMost && shape.k > 0 && shape.k <= kMost &&
         blocks(shape, kWarpgroupRows, 128) <= kMostTiles;
}

}  // namespace

std::vector<ByteWay> ByteChoices::ways(const ByteShape& shape) const {
  constexpr int64_t kEnoughBlocks = 128;  // so that most of a device has work
  std::vector<ByteWay> found;
  const bool large = device_.shared >= byte_shared(128, 128);
  const bool many = blocks(shape, 128, 128) >= kEnoughBlocks;
  if (fits_warpgroups(shape, device_)) {
    found = {ByteWay::kWarpgroups128x128, ByteWay::kWarpgroups128x256};
    if (blocks(shape, kWarpgroupRows, 256) >= kEnoughBlocks) std::swap(found[0], found[1]);
  }
  if (shape.m > 16 && large && many) found.push_back(ByteWay::kTile128x128);
  if (shape.m > 16) found.push_back(ByteWay::kTile64x64);
  if (shape.m <= 64) found.push_back(ByteWay::kTile16x64);
  if (shape.m > 64 && large && !many) found.push_back(ByteWay::kTile128x128);
  // the library's sums go through memory once more, which a few rows are never worth
  if (shape.rows && shape.m > 16 && shape.n % 4 == 0) found.push_back(ByteWay::kLibrary);
  return found;
}

ByteWay ByteChoices::choose(const ByteShape& shape) {
  const std::lock_guard lock(mutex_);
  const auto known = choices_.find(shape);
  if (known != choices_.end()) return known->second;
  const std::vector<ByteWay> possible = ways(shape);
  ByteWay best = possible.front();
  double least = -1;
  for (const ByteWay way : possible) {
    const double ms = measure_(shape, way);
    if (ms < 0 || (least >= 0 && ms >= least)) continue;
    least = ms;
    best = way;
  }
  choices_.emplace(shape, best);
  return best;
}

size_t ByteChoices::size() const {
  const std::lock_guard lock(mutex_);
  return choices_.size();
}

}  // namespace tandem::cuda
