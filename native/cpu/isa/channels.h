// How batchNorm and its gradient walk [n, c, l]: with l > 1 a channel is n runs of l elements
// ("planes"), otherwise a column of [n, c]. Statistics are taken in tiles of some channels and some
// samples, whose partial results a later step combines in order.
#pragma once

#include "cpu/isa/row_sums.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {

inline constexpr int64_t kChannelTile = 16384;  // elements, about
inline constexpr int64_t kPlaneRun = 4096;      // elements that a tile reads in a row, at least
inline constexpr int64_t kPlaneSamples = 4;     // samples of a tile, at least
inline constexpr int64_t kColumnStrip = 128;    // columns a tile, a multiple of 8 vectors
inline constexpr int64_t kMaxChunks = 64;       // pieces of the batch
inline constexpr int64_t kChannelsATile = 256;  // where each channel is a few numbers only

struct Channels {
  int64_t n, c, l;
  int64_t block;    // channels of a tile of statistics
  int64_t samples;  // samples of a tile of statistics
  int64_t chunks;   // tiles along the batch
};

TANDEM_INLINE Channels channels_of(const Tensor& x) {
  Channels s{};
  s.n = x.numel == 0 ? 0 : x.dims[0];
  s.c = x.dims[1];
  s.l = x.numel == 0 ? 1 : stride_of(x, 1);
  const int64_t wide = s.l > 1 ? ceil_div(kPlaneRun, s.l) : kColumnStrip;
  s.block = most(least(wide, s.c), 1);
  s.samples = most(ceil_div(kChannelTile, most(s.block * s.l, 1)), kPlaneSamples);
  s.samples = most(s.samples, ceil_div(s.n, kMaxChunks));
  s.chunks = ceil_div(s.n, s.samples);
  return s;
}

TANDEM_INLINE int64_t statistics_tiles(const Channels& s) {
  return ceil_div(s.c, s.block) * s.chunks;
}

/// Tiles of the elementwise pass: runs of planes, or strips of columns by rows.
TANDEM_INLINE int64_t runs_per_tile(const Channels& s) { return most(kChannelTile / s.l, 1); }
TANDEM_INLINE int64_t rows_per_tile(const Channels& s) {
  return most(kChannelTile / most(least(s.c, kColumnStrip), 1), 1);
}
TANDEM_INLINE int64_t apply_tiles(const Channels& s) {
  return s.l > 1 ? ceil_div(s.n * s.c, runs_per_tile(s))
                 : ceil_div(s.c, kColumnStrip) * ceil_div(s.n, rows_per_tile(s));
}

/// Calls visit(at, channel, m) for each vector of tile `tile`: elements [at, at + m). For planes
/// `prepare(channel)` comes before the vectors of a run and gives what visit gets as its last
/// argument; for columns `load_channels(channel, m)` gives it for each vector.
template <typename Prepare, typename LoadChannels, typename Visit>
TANDEM_INLINE void each_of_tile(const Channels& s, int64_t tile, Prepare prepare,
                                LoadChannels load_channels, Visit visit) {
  if (s.l > 1) {
    const Range runs = piece(tile, runs_per_tile(s), s.n * s.c);
    int64_t channel = runs.begin % s.c;
    for (int64_t run = runs.begin; run < runs.end; ++run) {
      const auto values = prepare(channel);
      const int64_t base = run * s.l;
      each_vector(s.l, [&](int64_t i, int64_t m) { visit(base + i, m, values); });
      if (++channel == s.c) channel = 0;
    }
    return;
  }
  const int64_t strips = ceil_div(s.c, kColumnStrip);
  const Range columns = piece(tile % strips, kColumnStrip, s.c);
  const Range rows = piece(tile / strips, rows_per_tile(s), s.n);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    each_vector(columns.end - columns.begin, [&](int64_t i, int64_t m) {
      const int64_t channel = columns.begin + i;
      visit(row * s.c + channel, m, load_channels(channel, m));
    });
  }
}

/// Calls visit(at, n) for the contiguous elements [at, at + n) that tile `tile` consists of.
template <typename Visit>
TANDEM_INLINE void each_run_of_tile(const Channels& s, int64_t tile, Visit visit) {
  if (s.l > 1) {
    const Range runs = piece(tile, runs_per_tile(s), s.n * s.c);
    visit(runs.begin * s.l, (runs.end - runs.begin) * s.l);
    return;
  }
  const int64_t strips = ceil_div(s.c, kColumnStrip);
  const Range columns = piece(tile % strips, kColumnStrip, s.c);
  const Range rows = piece(tile / strips, rows_per_tile(s), s.n);
  for (int64_t row = rows.begin; row < rows.end; ++row)
    visit(row * s.c + columns.begin, columns.end - columns.begin);
}

/// Sums of `K` terms over `rows` rows of the columns [0, columns) at offset `at`, in floats, into
/// sums[k][column]. `terms(at, column, m, out)` sets them for the m columns from `column` on, whose
/// first element lies at `at`. Several vectors side by side, so that memory is read in runs.
template <int K, typename Terms>
TANDEM_INLINE void add_columns(int64_t rows, int64_t columns, int64_t at, int64_t stride,
                               Terms terms, float (&sums)[K][kColumnStrip]) {
  constexpr int kSide = K == 1 ? 8 : 4;
  int64_t c = 0;
  for (; c + kSide * kWidth <= columns; c += kSide * kWidth) {
    Vec lanes[kSide][K];
    for (auto& lane : lanes) {
      for (Vec& v : lane) v = zero();
    }
    for (int64_t r = 0; r < rows; ++r) {
      for (int j = 0; j < kSide; ++j) {
        const int64_t column = c + j * kWidth;
        Vec out[K];
        terms(at + r * stride + column, column, int64_t{kWidth}, out);
        for (int k = 0; k < K; ++k) lanes[j][k] += out[k];
      }
    }
    for (int j = 0; j < kSide; ++j) {
      for (int k = 0; k < K; ++k) store(sums[k] + c + j * kWidth, lanes[j][k]);
    }
  }
  for (; c < columns; c += kWidth) {
    const int64_t m = least(columns - c, kWidth);
    Vec lanes[2][K];
    for (auto& lane : lanes) {
      for (Vec& v : lane) v = zero();
    }
    for (int64_t r = 0; r < rows; ++r) {
      Vec out[K];
      terms(at + r * stride + c, c, m, out);
      for (int k = 0; k < K; ++k) lanes[r % 2][k] += out[k];
    }
    for (int k = 0; k < K; ++k) store_up_to(sums[k] + c, lanes[0][k] + lanes[1][k], m);
  }
}

/// An operand, or null where it is left out: `index` is -1.
TANDEM_INLINE const float* floats_or_null(void* const* operands, int32_t index) {
  return index < 0 ? nullptr : static_cast<const float*>(operands[index]);
}

/// A number a channel, or `otherwise` where the operand is left out.
TANDEM_INLINE float number_at(const float* p, int64_t i, float otherwise) {
  return p == nullptr ? otherwise : p[i];
}
TANDEM_INLINE Vec numbers_at(const float* p, int64_t i, int64_t m, float otherwise) {
  return p == nullptr ? set1(otherwise) : load_up_to(p + i, m);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
