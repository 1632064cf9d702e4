// Tensors seen as [n, c, l]: which channel an element belongs to, and sums over all that is not the
// channel. Samples are cut into pieces by the shape alone; each piece has a sum of its own in
// memory, and whoever wants the total adds the pieces in order.
#pragma once

#include "cuda/device/fold.cuh"
#include "cuda/device/index.cuh"
#include "cuda/host/channel_shape.h"
#include "cuda/launch.h"

namespace tandem::cuda {

inline constexpr unsigned kChannelThreads = 256;
inline constexpr unsigned kChannelColumns = 32;  ///< of a block where channels are neighbours

/// A ChannelShape with what quick divisions need.
struct Channels : ChannelShape {
  Divisor by_l, by_c;

  Channels() = default;
  explicit Channels(const ChannelShape& shape) : ChannelShape(shape) {
    if (n * c * l >= (int64_t{1} << 31)) return;
    if (l > 0) by_l = Divisor(l);
    if (c > 0) by_c = Divisor(c);
    quick = true;
  }
  bool quick = false;  ///< whether positions fit the quick division

  /// The sample and the channel of an element, as one number n * c + channel.
  [[nodiscard]] TANDEM_DEVICE int64_t plane_of(int64_t at) const {
    return quick ? by_l.divide(static_cast<uint32_t>(at)) : at / l;
  }
  [[nodiscard]] TANDEM_DEVICE int64_t channel_of(int64_t plane) const {
    if (!quick) return plane % c;
    const auto number = static_cast<uint32_t>(plane);
    return number - by_c.divide(number) * by_c.value;
  }
};

/// Two sums that are made in one walk.
struct TwoSums {
  double first, second;
};

/// Where the two sums of a piece are.
TANDEM_DEVICE int64_t sums_at(const Channels& s, int64_t piece, int64_t channel) {
  return piece * 2 * s.c + channel;
}

/// The sums of f(element, sample, channel), a TwoSums, with `threads` threads a channel and piece.
template <unsigned threads, typename F>
__global__ void __launch_bounds__(kChannelThreads)
    plane_sums_kernel(Channels s, F f, double* sums) {
  constexpr unsigned kPerBlock = kChannelThreads / threads;
  const int64_t task = static_cast<int64_t>(blockIdx.x) * kPerBlock + threadIdx.x / threads;
  if (task >= s.c * s.pieces) return;  // whole warps alike
  const int64_t channel = task % s.c;
  const int64_t piece = task / s.c;
  const int64_t begin = piece * s.samples;
  const int64_t end = begin + s.samples < s.n ? begin + s.samples : s.n;
  double first = 0.0;
  double second = 0.0;
  // all samples of the piece as one run, so that short planes keep the threads busy
  const int64_t count = (end - begin) * s.l;
  for (int64_t i = threadIdx.x % threads; i < count; i += threads) {
    const int64_t sample = s.plane_of(i);
    const int64_t at = ((begin + sample) * s.c + channel) * s.l + (i - sample * s.l);
    const TwoSums term = f(at, begin + sample, channel);
    first += term.first;
    second += term.second;
  }
  first = fold_threads<threads>(first, Add{}, 0.0);
  second = fold_threads<threads>(second, Add{}, 0.0);
  if (threadIdx.x % threads != 0) return;
  sums[sums_at(s, piece, channel)] = first;
  sums[sums_at(s, piece, channel) + s.c] = second;
}

/// The same with l = 1: a block has kChannelColumns channels and a piece.
template <typename F>
__global__ void __launch_bounds__(kChannelThreads)
    column_sums_kernel(Channels s, F f, double* sums) {
  constexpr unsigned kRows = kChannelThreads / kChannelColumns;
  __shared__ double first_parts[kRows][kChannelColumns];
  __shared__ double second_parts[kRows][kChannelColumns];
  const int64_t strips = (s.c + kChannelColumns - 1) / kChannelColumns;
  const int64_t piece = blockIdx.x / strips;
  const unsigned column = threadIdx.x % kChannelColumns;
  const unsigned row = threadIdx.x / kChannelColumns;
  const int64_t channel = (blockIdx.x % strips) * kChannelColumns + column;
  const int64_t begin = piece * s.samples;
  const int64_t end = begin + s.samples < s.n ? begin + s.samples : s.n;
  double first = 0.0;
  double second = 0.0;
  for (int64_t i = begin + row; channel < s.c && i < end; i += kRows) {
    const TwoSums term = f(i * s.c + channel, i, channel);
    first += term.first;
    second += term.second;
  }
  first_parts[row][column] = first;
  second_parts[row][column] = second;
  __syncthreads();
  if (row != 0 || channel >= s.c) return;
  for (unsigned i = 1; i < kRows; ++i) {
    first += first_parts[i][column];
    second += second_parts[i][column];
  }
  sums[sums_at(s, piece, channel)] = first;
  sums[sums_at(s, piece, channel) + s.c] = second;
}

/// The pieces of one channel, added in order.
TANDEM_DEVICE TwoSums join_pieces(const Channels& s, const double* sums, int64_t channel) {
  TwoSums total{0.0, 0.0};
  for (int64_t piece = 0; piece < s.pieces; ++piece) {
    total.first += sums[sums_at(s, piece, channel)];
    total.second += sums[sums_at(s, piece, channel) + s.c];
  }
  return total;
}

/// Starts the kernel that fits the shape.
template <typename F>
void launch_sums(Launch& launch, const Channels& s, const F& f, double* sums) {
  if (s.l == 1) {
    launch.kernel(column_sums_kernel<F>, ceil_div(s.c, kChannelColumns) * s.pieces, kChannelThreads,
                  s, f, sums);
  } else if (s.samples * s.l <= kWarpTakes) {
    launch.kernel(plane_sums_kernel<32, F>, ceil_div(s.c * s.pieces, kChannelThreads / 32),
                  kChannelThreads, s, f, sums);
  } else {
    launch.kernel(plane_sums_kernel<kChannelThreads, F>, s.c * s.pieces, kChannelThreads, s, f,
                  sums);
  }
}

}  // namespace tandem::cuda
