// quantizedLinear: a product of bytes with weights of bytes. With kStatic x comes as bytes; with
// kDynamic its rows become bytes first, each by its own range; with kWeights blocks widen weights
// to floats on their way to shared memory, for a product of floats.
#include "core/ops/quantized.h"

#include "cuda/device/byte_product.cuh"
#include "cuda/device/byte_rows.cuh"
#include "cuda/device/conv.cuh"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int kWarps = 8;

/// Rows of bytes at a multiple of kByteUnit; what fills them up meets weights of zero.
__global__ void __launch_bounds__(kThreads)
    pad_kernel(const uint8_t* x, uint8_t* y, int64_t rows, int64_t columns, int64_t along) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= rows * along) return;
  const int64_t row = i / along;
  const int64_t column = i - row * along;
  y[i] = column < columns ? x[row * columns + column] : uint8_t{0};
}

/// A warp makes bytes of a row.
__global__ void __launch_bounds__(kThreads)
    rows_kernel(const float* x, uint8_t* y, int64_t rows, int64_t columns, int64_t along,
                float* scales, int32_t* zeros) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const float* const from = x + row * columns;
  const RowSteps steps = unsigned_steps(extent_of_row(from, columns));
  for (int64_t i = threadIdx.x % 32; i < along; i += 32) {
    y[row * along + i] =
        i < columns ? to_unsigned_byte(from[i], steps.scale, steps.zero) : uint8_t{0};
  }
  if (threadIdx.x % 32 > 0) return;
  scales[row] = steps.scale;
  zeros[row] = steps.zero;
}

// ---- weights alone -----------------------------------------------------------------------------

struct WideProduct {
  int64_t m, n, k, along;  ///< along: bytes of a row of w
  const float* x;
  const int8_t* w;
  ByteResult result;  ///< without anything to take off the sums
};

/// A block has 64 rows of x, 16 to a warp, and 64 rows of w.
template <Arithmetic kind>
__global__ void __launch_bounds__(kConvThreads)
    wide_kernel(const __grid_constant__ WideProduct p, int64_t row_tiles) {
  __shared__ float rows[kConvTile * kConvAlong];
  __shared__ float columns[kConvTile * kConvAlong];
  const int64_t row = blockIdx.x % row_tiles * kConvTile;
  const int64_t column = blockIdx.x / row_tiles * kConvTile;
  const int lane = static_cast<int>(threadIdx.x) % kConvDepth;
  ConvSums sums;
  sums.clear();
  for (int64_t first = 0; first < p.k; first += kConvDepth) {
    const int64_t k = first + lane;
    __syncthreads();  // the product before still reads
    for (int i = static_cast<int>(threadIdx.x) / kConvDepth; i < kConvTile;
         i += kConvThreads / kConvDepth) {
      const bool in_x = row + i < p.m && k < p.k;
      const bool in_w = column + i < p.n && k < p.k;
      rows[i * kConvAlong + lane] = in_x ? p.x[(row + i) * p.k + k] : 0.0F;
      columns[i * kConvAlong + lane] =
          in_w ? static_cast<float>(p.w[(column + i) * p.along + k]) * p.result.scales[column + i]
               : 0.0F;
    }
    __syncthreads();
    add_product<kind, kConvDepth, kConvAlong, 1, 1, kConvAlong>(
        sums, rows + threadIdx.x / 32 * kTileRows * kConvAlong, columns);
  }
  const int64_t first_row = row + static_cast<int64_t>(threadIdx.x / 32) * kTileRows;
#pragma unroll
  for (int i = 0; i < kConvTile / kTileColumns; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int64_t r = first_row + row_of_element(e);
      const int64_t c = column + column_of_element(i, e);
      if (r < p.m && c < p.n) static_cast<float*>(p.result.y)[r * p.n + c] = sums.at[i][e];
    }
  }
}

/// y holds products; makes results of them in place, or bytes elsewhere.
__global__ void __launch_bounds__(kThreads)
    wide_finish_kernel(const __grid_constant__ ByteResult r, const float* products, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  float v = products[i];
  if (r.bias != nullptr) v += r.bias[i % r.columns];
  if (r.activation >= 0) v = activate(r.activation, v, r.a, r.b);
  if (!r.to_bytes) {
    static_cast<float*>(r.y)[i] = v;
    return;
  }
  static_cast<uint8_t*>(r.y)[i] = static_cast<uint8_t>(to_byte(v * r.inverse, 0, 255, r.y_zero));
}

template <Arithmetic kind>
void launch_wide_kind(Launch& launch, const WideProduct& p) {
  const int64_t row_tiles = ceil_div(p.m, kConvTile);
  launch.kernel(wide_kernel<kind>, row_tiles * ceil_div(p.n, kConvTile), kConvThreads, p,
                row_tiles);
}

void launch_wide(Launch& launch, const ops::QuantizedProduct& product, int64_t m) {
  const Tensor& w = launch.input(1);
  const ByteWeight weight = byte_weight(launch, product, w.dims[1], 1);
  WideProduct p{m,
                w.dims[0],
                w.dims[1],
                weight.k,
                launch.in(0),
                weight.bytes,
                byte_result(launch, product, weight)};
  const ByteResult result = p.result;
  const bool plain = result.bias == nullptr && result.activation < 0;
  if (product.to_bytes) p.result.y = launch.workspace<float>(p.m * p.n);
  if (conv_arithmetic(launch, false, false) == Arithmetic::kTf32) {
    launch_wide_kind<Arithmetic::kTf32>(launch, p);
  } else {
    launch_wide_kind<Arithmetic::kFloat32>(launch, p);
  }
  if (plain && !product.to_bytes) return;
  launch.kernel(wide_finish_kernel, ceil_div(p.m * p.n, kThreads), kThreads, result,
                static_cast<const float*>(p.result.y), p.m * p.n);
}

}  // namespace

void launch_quantizedLinear(Launch& launch) {
  const auto& product = launch.attributes<ops::QuantizedProduct>();
  const Tensor& w = launch.input(1);
  if (launch.output().numel == 0) return;
  const int64_t m = launch.output().numel / w.dims[0];
  const int64_t k = w.dims[1];
  if (product.mode == QuantizationMode::kWeights) return launch_wide(launch, product, m);
  const ByteWeight weight = byte_weight(launch, product, k, 1);
  ByteProduct p{};
  p.m = m;
  p.n = w.dims[0];
  p.k = weight.k;
  p.w = weight.bytes;
  p.source = ByteSource::kRows;
  p.result = byte_result(launch, product, weight);
  if (product.mode == QuantizationMode::kDynamic) {
    auto* const bytes = launch.workspace<uint8_t>(m * p.k);
    auto* const scales = launch.workspace<float>(m);
    auto* const zeros = launch.workspace<int32_t>(m);
    launch.kernel(rows_kernel, ceil_div(m, kWarps), kThreads, launch.in(0), bytes, m, k, p.k,
                  scales, zeros);
    p.x = bytes;
    p.result.row_scales = scales;
    p.result.row_zeros = zeros;
  } else if (p.k == k) {
    p.x = launch.in<uint8_t>(0);
  } else {
    auto* const padded = launch.workspace<uint8_t>(m * p.k);
    launch.kernel(pad_kernel, ceil_div(m * p.k, kThreads), kThreads, launch.in<uint8_t>(0), padded,
                  m, k, p.k);
    p.x = padded;
  }
  launch_byte_product(launch, p);
}

}  // namespace tandem::cuda
