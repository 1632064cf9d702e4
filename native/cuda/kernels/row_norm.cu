// layerNorm and rmsNorm over contiguous rows:
//   layerNorm: y = (x - mean) r w + b, r = (variance + eps)^-1/2
//   rmsNorm:   y = x r w,              r = (mean of squares + eps)^-1/2
// and their gradients, with g = dy w and n the length of a row:
//   layerNorm: dx = r (g - sum(g) / n - (x - mean) r^2 sum(g (x - mean)) / n)
//   rmsNorm:   dx = r (g - x r^2 sum(g x) / n)
// plus the residual where there is one, and over all rows
//   dw = sum(dy (x - mean) r), db = sum(dy).
// A row belongs to a warp or to a block, and an element of it to the same thread in every pass, so
// that y may lie on x or on the residual, and dx (=) on dy, x or the residual. dw and db come
// first: they read what dx may overwrite.
#include "core/ops/row_norm.h"

#include "cuda/device/channels.cuh"
#include "cuda/device/result.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int64_t kWarpIsEnough = 1024;  // elements of a row

struct Forward {
  int64_t rows, n;
  float epsilon;
  const float *x, *w, *b, *residual;  // all but x may be null
  Result y;
  float *mean, *inverse, *sum;  // sum: null where nobody wants it, and y is there as floats
};

/// `threads` threads a row: a warp, or the block.
template <bool centered, unsigned threads>
__global__ void __launch_bounds__(kThreads) forward_kernel(Forward p) {
  constexpr unsigned kPerBlock = kThreads / threads;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kPerBlock + threadIdx.x / threads;
  if (row >= p.rows) return;  // whole warps alike
  const unsigned first = threadIdx.x % threads;
  const int64_t base = row * p.n;
  const float* x = p.x + base;
  const ResultRow y(p.y, row, p.n);
  const auto count = static_cast<float>(p.n);
  float sum = 0.0F;
  if (p.residual != nullptr) {
    const float* const residual = p.residual + base;
    float* const total = p.sum == nullptr ? y.y : p.sum + base;
    for (int64_t i = first; i < p.n; i += threads) {
      const float v = x[i] + residual[i];
      total[i] = v;
      sum += centered ? v : v * v;
    }
    x = total;
  } else {
    for (int64_t i = first; i < p.n; i += threads) sum += centered ? x[i] : x[i] * x[i];
  }
  sum = fold_threads<threads>(sum, Add{}, 0.0F);
  float center = 0.0F;
  if constexpr (centered) {
    center = sum / count;
    float squares = 0.0F;
    for (int64_t i = first; i < p.n; i += threads) {
      const float d = x[i] - center;
      squares = fmaf(d, d, squares);
    }
    sum = fold_threads<threads>(squares, Add{}, 0.0F);
  }
  const float inverse = 1.0F / sqrtf(sum / count + p.epsilon);
  for (int64_t i = first; i < p.n; i += threads) {
    float v = (x[i] - center) * inverse;
    if (p.w != nullptr) v *= p.w[i];
    if (p.b != nullptr) v += p.b[i];
    y.store(i, v);
  }
  y.pad(p.y, p.n, first);
  if (first != 0) return;
  p.inverse[row] = inverse;
  if constexpr (centered) p.mean[row] = center;
}

template <bool centered>
void launch_forward(Launch& launch) {
  const Tensor& x = launch.input(0);
  if (x.numel == 0) return;
  const int after = centered ? 3 : 2;  // outputs without the sum
  Forward p{};
  p.rows = launch.output(1).numel;
  p.n = x.numel / p.rows;
  p.epsilon = launch.attributes<ops::RowNormAttributes>().epsilon;
  p.x = launch.in(0);
  p.w = launch.in(1);
  p.b = launch.in(2);
  p.residual = launch.in(3);
  p.y = launch.result();
  p.mean = centered ? launch.out(1) : nullptr;
  p.inverse = launch.out(after - 1);
  p.sum = launch.output_count() > after ? launch.out(after) : nullptr;
  if (p.n <= kWarpIsEnough) {
    launch.kernel(forward_kernel<centered, 32>, ceil_div(p.rows, kThreads / 32), kThreads, p);
  } else {
    launch.kernel(forward_kernel<centered, kThreads>, p.rows, kThreads, p);
  }
}

// ---- gradient ----------------------------------------------------------------------------------

struct Backward {
  int64_t rows, n;
  const float *dy, *x, *w, *residual, *mean, *inverse;  // w, residual and mean may be null
  Result dx;
};

template <bool centered, unsigned threads>
__global__ void __launch_bounds__(kThreads) backward_kernel(Backward p) {
  constexpr unsigned kPerBlock = kThreads / threads;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kPerBlock + threadIdx.x / threads;
  if (row >= p.rows) return;  // whole warps alike
  const unsigned first = threadIdx.x % threads;
  const int64_t base = row * p.n;
  const float* const dy = p.dy + base;
  const float* const x = p.x + base;
  const float center = centered ? p.mean[row] : 0.0F;
  const float r = p.inverse[row];
  const auto count = static_cast<float>(p.n);
  float sum = 0.0F;
  float products = 0.0F;
  for (int64_t i = first; i < p.n; i += threads) {
    const float g = p.w == nullptr ? dy[i] : dy[i] * p.w[i];
    sum += g;
    products = fmaf(g, x[i] - center, products);
  }
  if constexpr (centered) sum = fold_threads<threads>(sum, Add{}, 0.0F);
  products = fold_threads<threads>(products, Add{}, 0.0F);
  const float shift = centered ? sum / count : 0.0F;
  const float slope = products * r * r / count;
  const ResultRow dx(p.dx, row, p.n);
  for (int64_t i = first; i < p.n; i += threads) {
    const float g = p.w == nullptr ? dy[i] : dy[i] * p.w[i];
    const float d = (g - shift - (x[i] - center) * slope) * r;
    dx.store(i, p.residual == nullptr ? d : d + p.residual[base + i]);
  }
  dx.pad(p.dx, p.n, first);
}

/// What dw and db are the sums of.
template <bool centered>
struct WeightTerm {
  const float *dy, *x, *mean, *inverse;
  TANDEM_DEVICE TwoSums operator()(int64_t at, int64_t row, int64_t /*column*/) const {
    const float d = dy[at];
    const float v = centered ? x[at] - mean[row] : x[at];
    return {static_cast<double>(d), static_cast<double>(d * v * inverse[row])};
  }
};

__global__ void __launch_bounds__(kThreads)
    weights_kernel(Channels s, const double* sums, float* dw, float* db) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= s.c) return;
  const TwoSums total = join_pieces(s, sums, column);
  if (dw != nullptr) dw[column] = static_cast<float>(total.second);
  if (db != nullptr) db[column] = static_cast<float>(total.first);
}

template <bool centered>
void launch_backward(Launch& launch) {
  const auto& attributes = launch.attributes<ops::RowNormGradBase::Attributes>();
  Backward p{};
  p.n = attributes.length;
  p.rows = launch.input(1).numel / p.n;
  p.dy = launch.in(0);
  p.x = launch.in(1);
  p.w = launch.in(2);
  p.residual = launch.in(3);
  p.mean = centered ? launch.in(4) : nullptr;
  p.inverse = launch.in(centered ? 5 : 4);
  p.dx = launch.result();
  if (attributes.dw || attributes.db) {
    const Channels s(cut_channels(p.rows, p.n, 1));
    auto* const sums = launch.workspace<double>(s.pieces * 2 * s.c);
    float* const dw = attributes.dw ? launch.out(1) : nullptr;
    float* const db = attributes.db ? launch.out(attributes.dw ? 2 : 1) : nullptr;
    launch_sums(launch, s, WeightTerm<centered>{p.dy, p.x, p.mean, p.inverse}, sums);
    launch.kernel(weights_kernel, ceil_div(s.c, kThreads), kThreads, s, sums, dw, db);
  }
  if (p.n <= kWarpIsEnough) {
    launch.kernel(backward_kernel<centered, 32>, ceil_div(p.rows, kThreads / 32), kThreads, p);
  } else {
    launch.kernel(backward_kernel<centered, kThreads>, p.rows, kThreads, p);
  }
}

}  // namespace

void launch_layerNorm(Launch& launch) { launch_forward<true>(launch); }
void launch_rmsNorm(Launch& launch) { launch_forward<false>(launch); }
void launch_layerNormGrad(Launch& launch) { launch_backward<true>(launch); }
void launch_rmsNormGrad(Launch& launch) { launch_backward<false>(launch); }

}  // namespace tandem::cuda
