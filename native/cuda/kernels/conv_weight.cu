// convWeightGrad: dw of a convolution from x to y, a product for every group: [out, pixels of all
// images] of dy times [pixels, in * taps], gathered from x. The sums are long and the result small,
// so that they are cut into pieces, each with a gradient of its own in memory; these are added in
// order.
#include "cuda/device/conv.cuh"

namespace tandem::cuda {
namespace {

constexpr unsigned kMergeThreads = 256;

struct WeightGradient {
  ConvShape s;
  const float *x, *dy;
  float* out;  // [pieces][groups * out][in * taps]
  WeightPieces cut;
};

/// A column of the result: a channel's plane and a tap's offset.
struct Column {
  int64_t plane;
  Pixel offset;
};

template <Arithmetic kind>
__global__ void __launch_bounds__(kConvThreads)
    weight_kernel(WeightGradient g, int64_t row_tiles, int64_t column_tiles) {
  __shared__ float gradients[kConvTile * kConvAlong];
  __shared__ float gathered[kConvTile * kConvAlong];
  __shared__ Column column_table[kConvTile];
  const ConvShape& s = g.s;
  const int64_t taps = taps_of(s);
  const int64_t columns = s.in * taps;
  int64_t rest = blockIdx.x;
  const int64_t row = rest % row_tiles * kConvTile;
  rest /= row_tiles;
  const int64_t column = rest % column_tiles * kConvTile;
  rest /= column_tiles;
  const int64_t group = rest % s.groups;
  const int64_t piece = rest / s.groups;
  if (threadIdx.x < kConvTile) {
    const int64_t j = column + threadIdx.x;
    const int64_t channel = j / taps;
    column_table[threadIdx.x] = {channel * x_pixels(s), tap_offset(s, j - channel * taps)};
  }
  const int64_t begin = piece * g.cut.piece;
  const int64_t all = s.batch * y_pixels(s);
  const int64_t end = begin + g.cut.piece < all ? begin + g.cut.piece : all;
  // a thread has one pixel of each piece of the sums, and every fourth row and column
  const int lane = static_cast<int>(threadIdx.x) % kConvDepth;
  ConvSums sums;
  sums.clear();
  for (int64_t first = begin; first < end; first += kConvDepth) {
    __syncthreads();  // the product before still reads; at first: the table is there
    const bool there = first + lane < end;
    const int64_t at = there ? first + lane : 0;
    const int64_t image = at / y_pixels(s);
    const int64_t pixel = at - image * y_pixels(s);
    const Pixel start = window_start(s, pixel);
    const float* const dy = g.dy + (image * s.groups + group) * s.out * y_pixels(s) + pixel;
    const float* const x = g.x + (image * s.groups + group) * s.in * x_pixels(s);
#pragma unroll 4
    for (int i = static_cast<int>(threadIdx.x) / kConvDepth; i < kConvTile;
         i += kConvThreads / kConvDepth) {
      gradients[i * kConvAlong + lane] =
          there && row + i < s.out ? dy[(row + i) * y_pixels(s)] : 0.0F;
      const Column& to = column_table[i];
      const int64_t from =
          there && column + i < columns ? x_element(s, start, to.offset) : int64_t{-1};
      gathered[i * kConvAlong + lane] = from < 0 ? 0.0F : x[to.plane + from];
    }
    __syncthreads();
    add_product<kind, kConvDepth, kConvAlong, 1, 1, kConvAlong>(
        sums, gradients + threadIdx.x / 32 * kTileRows * kConvAlong, gathered);
  }
  const int64_t first_row = row + static_cast<int64_t>(threadIdx.x / 32) * kTileRows;
  float* const out = g.out + (piece * s.groups + group) * s.out * columns;
#pragma unroll
  for (int i = 0; i < kConvTile / kTileColumns; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int64_t r = first_row + row_of_element(e);
      const int64_t j = column + column_of_element(i, e);
      if (r < s.out && j < columns) out[r * columns + j] = sums.at[i][e];
    }
  }
}

__global__ void __launch_bounds__(kMergeThreads)
    merge_kernel(const float* partial, int64_t pieces, int64_t n, float* dw) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kMergeThreads + threadIdx.x;
  if (i >= n) return;
  double sum = 0.0;
  for (int64_t piece = 0; piece < pieces; ++piece)
    sum += static_cast<double>(partial[piece * n + i]);
  dw[i] = static_cast<float>(sum);
}

}  // namespace

void launch_convWeightGrad(Launch& launch) {
  const auto& attributes = launch.attributes<ops::ConvWeightGrad::Attributes>();
  const Tensor& dw = launch.output();
  WeightGradient g{};
  g.s = conv_shape(launch.input(0), launch.input(1), dw, attributes.conv);
  g.x = launch.in(0);
  g.dy = launch.in(1);
  if (is_depthwise(g.s)) return launch_depthwise_weight(launch, g.s, g.x, g.dy, launch.out());
  const int64_t row_tiles = ceil_div(g.s.out, kConvTile);
  const int64_t column_tiles = ceil_div(g.s.in * taps_of(g.s), kConvTile);
  const int64_t blocks = row_tiles * column_tiles * g.s.groups;
  g.cut = weight_pieces(g.s.batch * y_pixels(g.s), blocks, dw.numel);
  const bool cut = g.cut.pieces > 1;
  g.out = cut ? launch.workspace<float>(g.cut.pieces * dw.numel) : launch.out();
  const Arithmetic kind = conv_arithmetic(launch, attributes.conv.bf16, attributes.conv.fp16);
  const auto kernel = kind == Arithmetic::kFloat32   ? weight_kernel<Arithmetic::kFloat32>
                      : kind == Arithmetic::kTf32    ? weight_kernel<Arithmetic::kTf32>
                      : kind == Arithmetic::kFloat16 ? weight_kernel<Arithmetic::kFloat16>
                                                     : weight_kernel<Arithmetic::kBfloat16>;
  launch.kernel(kernel, blocks * g.cut.pieces, kConvThreads, g, row_tiles, column_tiles);
  if (cut) {
    launch.kernel(merge_kernel, ceil_div(dw.numel, kMergeThreads), kMergeThreads, g.out,
                  g.cut.pieces, dw.numel, launch.out());
  }
}

}  // namespace tandem::cuda
