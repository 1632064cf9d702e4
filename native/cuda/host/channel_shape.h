// How sums over everything but the channels of [n, c, l] are cut into pieces of whole samples. By
// the shape alone, so that results are the same bits on every device.
#pragma once

#include <cstdint>

namespace tandem::cuda {

/// Elements of a channel in a piece that one warp adds up as fast as a block.
inline constexpr int64_t kWarpTakes = 1024;

struct ChannelShape {
  int64_t n = 0, c = 0, l = 1;
  int64_t pieces = 1, samples = 0;  ///< samples of a piece
};

/// Enough pieces to fill a large device, each of some work, none of them empty unless n is 0. The
/// sums of all pieces of a channel are added by one thread, so that there are not too many.
inline ChannelShape cut_channels(int64_t n, int64_t c, int64_t l) {
  constexpr int64_t kEnoughBlocks = 528;
  constexpr int64_t kMostPieces = 128;
  constexpr int64_t kLeastElements = 2048;  // of a piece, of one channel or of a strip
  constexpr int64_t kStrip = 32;            // channels of a block where l is 1
  const auto ceil_div = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  ChannelShape s{n, c, l, 1, n};
  const int64_t blocks = l == 1 ? ceil_div(c, kStrip) : c;
  if (n == 0 || blocks == 0 || l == 0) return s;
  const int64_t work = l == 1 ? n * kStrip : n * l;
  int64_t pieces = ceil_div(kEnoughBlocks, blocks);
  if (pieces > ceil_div(work, kLeastElements)) pieces = ceil_div(work, kLeastElements);
  if (pieces > kMostPieces) pieces = kMostPieces;
  if (pieces > n) pieces = n;
  s.samples = ceil_div(n, pieces);
  s.pieces = ceil_div(n, s.samples);
  return s;
}

/// Every sample a piece of its own.
inline ChannelShape each_sample(int64_t n, int64_t c, int64_t l) { return {n, c, l, n, 1}; }

}  // namespace tandem::cuda
