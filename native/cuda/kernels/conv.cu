// conv1d, conv2d, their fused form, their gradient with respect to x and convTranspose2d, which is
// the same. Each is a product for every group: weights [channels of the result, channels * taps]
// times [channels * taps, pixels of all images], whose second operand exists nowhere: blocks gather
// pieces of it from planes straight into shared memory (an implicit product, as in Chetlur et al.,
// "cuDNN: Efficient Primitives for Deep Learning", 2014). Backward, a pixel gathers from the
// windows that cover it.
#include "core/ops/fused_conv.h"

#include "cuda/device/conv.cuh"

namespace tandem::cuda {
namespace {

struct Convolution {
  ConvShape s;
  const float *planes, *w, *bias;  // bias: null for none
  float* out;
};

/// One summand: a channel's plane and a tap's offset.
struct Summand {
  int64_t plane;
  Pixel offset;
};

/// Channels of a group that are read and written, and the pixels of their planes.
template <bool backward>
struct Sides {
  int64_t channels, rows, from_pixels, to_pixels;
  TANDEM_DEVICE explicit Sides(const ConvShape& s)
      : channels(backward ? s.out : s.in),
        rows(backward ? s.in : s.out),
        from_pixels(backward ? y_pixels(s) : x_pixels(s)),
        to_pixels(backward ? x_pixels(s) : y_pixels(s)) {}
};

/// Weights of the rows from `row` on and the summands from `first` on.
template <bool backward>
TANDEM_DEVICE void load_weights(float* tile, const Convolution& c, int64_t group, int64_t row,
                                int64_t first, int64_t summands, int64_t rows) {
  const int64_t taps = taps_of(c.s);
  const int lane = static_cast<int>(threadIdx.x) % kConvDepth;
  const int64_t k = first + lane;
  const int64_t channel = backward ? k / taps : 0;  // forward, summands lie side by side
  const int64_t base = backward ? (group * c.s.out + channel) * c.s.in * taps + (k - channel * taps)
                                : group * c.s.out * c.s.in * taps + k;
  const int64_t step = backward ? taps : c.s.in * taps;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x) / kConvDepth; i < kConvTile;
       i += kConvThreads / kConvDepth) {
    const bool there = k < summands && row + i < rows;
    tile[i * kConvAlong + lane] = there ? c.w[base + (row + i) * step] : 0.0F;
  }
}

template <Arithmetic kind, bool backward>
__global__ void __launch_bounds__(kConvThreads) conv_kernel(Convolution c, int64_t row_tiles) {
  __shared__ float weights[kConvTile * kConvAlong];
  __shared__ float gathered[kConvDepth * kConvAcross];
  __shared__ Summand summand_table[kConvDepth];
  __shared__ int64_t targets[kConvTile];  // where columns are written, -1 for none
  const ConvShape& s = c.s;
  const Sides<backward> sides(s);
  const int64_t taps = taps_of(s);
  const int64_t summands = sides.channels * taps;
  const int64_t columns = s.batch * sides.to_pixels;
  const int64_t column_tiles = (columns + kConvTile - 1) / kConvTile;
  const int64_t row = blockIdx.x % row_tiles * kConvTile;
  const int64_t column = blockIdx.x / row_tiles % column_tiles * kConvTile;
  const int64_t group = blockIdx.x / row_tiles / column_tiles;
  // a thread gathers one column, and every second summand of it
  const int own = static_cast<int>(threadIdx.x) % kConvTile;
  const int64_t pixel_at = column + own;
  const int64_t image = pixel_at / sides.to_pixels;
  const int64_t pixel = pixel_at - image * sides.to_pixels;
  const bool there = pixel_at < columns;
  const Pixel start = backward ? padded_pixel(s, pixel) : window_start(s, pixel);
  const float* const planes =
      c.planes + (image * s.groups + group) * sides.channels * sides.from_pixels;
  if (threadIdx.x < kConvTile) {
    targets[own] =
        there ? (image * s.groups + group) * sides.rows * sides.to_pixels + pixel : int64_t{-1};
  }
  ConvSums sums;
  sums.clear();
  for (int64_t first = 0; first < summands; first += kConvDepth) {
    __syncthreads();  // the product before still reads
    if (threadIdx.x < kConvDepth) {
      const int64_t k = first + threadIdx.x;
      const int64_t channel = k / taps;
      summand_table[threadIdx.x] = {channel * sides.from_pixels, tap_offset(s, k - channel * taps)};
    }
    load_weights<backward>(weights, c, group, row, first, summands, sides.rows);
    __syncthreads();
#pragma unroll 4
    for (int i = static_cast<int>(threadIdx.x) / kConvTile; i < kConvDepth;
         i += kConvThreads / kConvTile) {
      const Summand& from = summand_table[i];
      int64_t at = -1;
      if (there && first + i < summands)
        at = backward ? y_element(s, start, from.offset) : x_element(s, start, from.offset);
      gathered[i * kConvAcross + own] = at < 0 ? 0.0F : planes[from.plane + at];
    }
    __syncthreads();
    add_product<kind, kConvDepth, kConvAlong, 1, kConvAcross, 1>(
        sums, weights + threadIdx.x / 32 * kTileRows * kConvAlong, gathered);
  }
  __syncthreads();  // the targets are there even where nothing was summed
  const int64_t first_row = row + static_cast<int64_t>(threadIdx.x / 32) * kTileRows;
#pragma unroll
  for (int i = 0; i < kConvTile / kTileColumns; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int64_t r = first_row + row_of_element(e);
      const int64_t target = targets[column_of_element(i, e)];
      if (r >= sides.rows || target < 0) continue;
      const float bias = c.bias == nullptr ? 0.0F : c.bias[group * sides.rows + r];
      c.out[target + r * sides.to_pixels] = sums.at[i][e] + bias;
    }
  }
}

template <bool backward>
void launch_product(Launch& launch, const Convolution& c, bool bf16, bool fp16) {
  const ConvShape& s = c.s;
  const int64_t row_tiles = ceil_div(backward ? s.in : s.out, kConvTile);
  const int64_t column_tiles =
      ceil_div(s.batch * (backward ? x_pixels(s) : y_pixels(s)), kConvTile);
  // what has one channel stays float32, as on the CPU
  const bool rounds = (backward ? s.out : s.in) > 1;
  const Arithmetic kind = conv_arithmetic(launch, bf16 && rounds, fp16 && rounds);
  const auto kernel = kind == Arithmetic::kFloat32   ? conv_kernel<Arithmetic::kFloat32, backward>
                      : kind == Arithmetic::kTf32    ? conv_kernel<Arithmetic::kTf32, backward>
                      : kind == Arithmetic::kFloat16 ? conv_kernel<Arithmetic::kFloat16, backward>
                                                     : conv_kernel<Arithmetic::kBfloat16, backward>;
  launch.kernel(kernel, row_tiles * column_tiles * s.groups, kConvThreads, c, row_tiles);
}

__global__ void __launch_bounds__(kConvThreads)
    residual_kernel(float* y, const float* residual, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kConvThreads + threadIdx.x;
  if (i < n) y[i] += residual[i];
}

/// The residual and the activation behind a convolution, and what it was before.
void finish(Launch& launch, const ops::FusedConv::Attributes& attributes) {
  const float* const residual = launch.in(ops::FusedConv::kResidual);
  const int64_t n = launch.output().numel;
  if (launch.has_input(ops::FusedConv::kResidual) && n > 0)
    launch.kernel(residual_kernel, ceil_div(n, kConvThreads), kConvThreads, launch.out(0), residual,
                  n);
  if (attributes.activation < 0 && !attributes.save_pre) return;
  Epilogue epilogue{};
  epilogue.z = launch.out(0);
  epilogue.y.y = launch.out(0);
  epilogue.rows = 1;
  epilogue.columns = n;
  epilogue.pre = attributes.save_pre ? launch.out(1) : nullptr;
  epilogue.activation = attributes.activation;
  epilogue.a = attributes.activation_attributes.a;
  epilogue.b = attributes.activation_attributes.b;
  launch_epilogue(launch, epilogue);
}

void launch_forward(Launch& launch, const ops::FusedConv::Attributes& attributes) {
  if (launch.output().numel == 0) return;
  const Convolution c{
      conv_shape(launch.input(0), launch.output(), launch.input(1), attributes.conv), launch.in(0),
      launch.in(1), launch.in(2), launch.out(0)};
  if (is_depthwise(c.s)) {
    launch_depthwise(launch, c.s, c.planes, c.w, c.bias, c.out);
  } else {
    launch_product<false>(launch, c, attributes.conv.bf16, attributes.conv.fp16);
  }
  finish(launch, attributes);
}

/// The gradient with respect to x of a convolution to what is the first input here.
void launch_backward(Launch& launch, const ops::ConvAttributes& attributes) {
  if (launch.output().numel == 0) return;
  const Convolution c{conv_shape(launch.output(), launch.input(0), launch.input(1), attributes),
                      launch.in(0), launch.in(1), launch.in(2), launch.out(0)};
  if (is_depthwise(c.s)) {
    launch_depthwise_data(launch, c.s, c.planes, c.w, c.bias, c.out);
  } else {
    launch_product<true>(launch, c, attributes.bf16, attributes.fp16);
  }
}

}  // namespace

void launch_conv1d(Launch& launch) {
  ops::FusedConv::Attributes attributes = {};
  attributes.conv = launch.attributes<ops::ConvAttributes>();
  attributes.activation = -1;
  launch_forward(launch, attributes);
}

void launch_conv2d(Launch& launch) { launch_conv1d(launch); }

void launch_fusedConv(Launch& launch) {
  const auto& attributes = launch.attributes<ops::FusedConv::Attributes>();
  if (!attributes.transposed) return launch_forward(launch, attributes);
  launch_backward(launch, attributes.conv);
  finish(launch, attributes);
}

void launch_convTranspose2d(Launch& launch) {
  launch_backward(launch, launch.attributes<ops::ConvAttributes>());
}
void launch_convDataGrad(Launch& launch) { launch_convTranspose2d(launch); }

}  // namespace tandem::cuda
