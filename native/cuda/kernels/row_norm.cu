// layerNorm and rmsNorm over contiguous rows:
//   layerNorm: y = (x - mean) r w + b, r = (variance + eps)^-1/2
//   rmsNorm:   y = x r w,              r = (mean of squares + eps)^-1/2
// and their gradients, with g = dy w and n the length of a row:
//   layerNorm: dx = r (g - sum(g) / n - (x - mean) r^2 sum(g (x - mean)) / n)
//   rmsNorm:   dx = r (g - x r^2 sum(g x) / n)
// plus the residual where there is one, and over all rows
//   dw = sum(dy (x - mean) r), db = sum(dy).
// A row belongs to a warp or to a block, and an element of it to the same thread in every pass, so
// that y may lie on x or on the residual, and dx (=) on dy, x or the residual. Rows of up to 1024
// numbers, a multiple of 4, lie in a warp's registers from their one reading on, and their warps
// add up dw and db on the way, as floats over a block's rows; otherwise these come first: they read
// what dx may overwrite.
#include "core/ops/row_norm.h"

#include <algorithm>

#include "cuda/device/channels.cuh"
#include "cuda/device/column_sums.cuh"
#include "cuda/device/launch_bounds.cuh"
#include "cuda/device/result.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kSumsThreads = 128;   // of blocks whose threads hold sums beside a row
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
__global__ void TANDEM_LAUNCH_BOUNDS(kThreads) forward_kernel(Forward p) {
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

// Four neighbours and what norms do with them.
TANDEM_DEVICE float4 operator+(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
TANDEM_DEVICE float4 operator*(float4 a, float4 b) {
  return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}
TANDEM_DEVICE float4 moved(float4 a, float by, float scale) {
  return make_float4((a.x + by) * scale, (a.y + by) * scale, (a.z + by) * scale,
                     (a.w + by) * scale);
}
TANDEM_DEVICE float4 four_of(float value) { return make_float4(value, value, value, value); }
TANDEM_DEVICE float sum_of(float4 a) { return a.x + a.y + (a.z + a.w); }
TANDEM_DEVICE float4 load4(const float* x) { return *reinterpret_cast<const float4*>(x); }

/// f(which, position) for the fours of a row that a lane has.
template <int fours, typename F>
TANDEM_DEVICE void each_four(int64_t n, F f) {
  const auto length = static_cast<int>(n);
#pragma unroll
  for (int k = 0; k < fours; ++k) {
    const int i = 4 * (static_cast<int>(threadIdx.x % 32) + 32 * k);
    if (i < length) f(k, i);
  }
}

/// As forward_kernel, for rows of up to 128 `fours` numbers.
template <bool centered, int fours>
__global__ void TANDEM_LAUNCH_BOUNDS(kThreads) warp_forward_kernel(Forward p) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (row >= p.rows) return;
  const int64_t base = row * p.n;
  const ResultRow y(p.y, row, p.n);
  const auto count = static_cast<float>(p.n);
  float4 x[fours];
  float sum = 0.0F;
  each_four<fours>(p.n, [&](int k, int i) {
    x[k] = load4(p.x + base + i);
    if (p.residual != nullptr) x[k] = x[k] + load4(p.residual + base + i);
    sum += sum_of(centered ? x[k] : x[k] * x[k]);
  });
  sum = fold_warp(sum, Add{});
  float center = 0.0F;
  if constexpr (centered) {
    center = sum / count;
    float squares = 0.0F;
    each_four<fours>(p.n, [&](int k, int) {
      const float4 d = moved(x[k], -center, 1.0F);
      squares += sum_of(d * d);
    });
    sum = fold_warp(squares, Add{});
  }
  const float inverse = 1.0F / sqrtf(sum / count + p.epsilon);
  each_four<fours>(p.n, [&](int k, int i) {
    if (p.sum != nullptr) *reinterpret_cast<float4*>(p.sum + base + i) = x[k];
    float4 v = moved(x[k], -center, inverse);
    if (p.w != nullptr) v = v * load4(p.w + i);
    if (p.b != nullptr) v = v + load4(p.b + i);
    y.store4(i, v);
  });
  y.pad(p.y, p.n, threadIdx.x % 32);
  if (threadIdx.x % 32 != 0) return;
  p.inverse[row] = inverse;
  if constexpr (centered) p.mean[row] = center;
}

/// Whether a row lies in registers of a warp.
bool fits_warp(int64_t n) { return n <= kWarpIsEnough && n % 4 == 0; }

/// launch(constant) with the number of fours of a lane that rows of `n` need, as a type.
template <typename F>
void with_fours(int64_t n, const F& launch) {
  constexpr int64_t kEach = 128;  // numbers of a warp
  if (n <= 2 * kEach) return launch(std::integral_constant<int, 2>{});
  if (n <= 4 * kEach) return launch(std::integral_constant<int, 4>{});
  if (n <= 6 * kEach) return launch(std::integral_constant<int, 6>{});
  launch(std::integral_constant<int, 8>{});
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
  if (fits_warp(p.n)) {
    with_fours(p.n, [&](auto fours) {
      launch.kernel(warp_forward_kernel<centered, fours()>, ceil_div(p.rows, kThreads / 32),
                    kThreads, p);
    });
  } else if (p.n <= kWarpIsEnough) {
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

/// As backward_kernel, for rows of up to 128 `fours` numbers, `rows` of them a block. Sums for dw,
/// then for db, of the block's rows go to `sums`, unless that is null.
template <bool centered, int fours>
__global__ void __launch_bounds__(kSumsThreads, fours < 8 ? 3 : 2)
    warp_backward_kernel(Backward p, int64_t rows, float* sums) {
  constexpr unsigned kWarps = kSumsThreads / 32;
  __shared__ alignas(16) float shared[2][128 * fours];
  const unsigned warp = threadIdx.x / 32;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * rows;
  const int64_t end = begin + rows < p.rows ? begin + rows : p.rows;
  float4 dw[fours];
  float4 db[fours];
#pragma unroll
  for (int k = 0; k < fours; ++k) dw[k] = db[k] = four_of(0.0F);
  for (int64_t row = begin + warp; row < end; row += kWarps) {
    const int64_t base = row * p.n;
    const float center = centered ? p.mean[row] : 0.0F;
    const float r = p.inverse[row];
    const auto count = static_cast<float>(p.n);
    float4 g[fours];
    float4 x[fours];  // centered, times r
    float4 residual[fours];
    float sum = 0.0F;
    float products = 0.0F;
    each_four<fours>(p.n, [&](int k, int i) {
      g[k] = load4(p.dy + base + i);
      residual[k] = p.residual == nullptr ? four_of(0.0F) : load4(p.residual + base + i);
      x[k] = moved(load4(p.x + base + i), -center, r);
      db[k] = db[k] + g[k];
      dw[k] = dw[k] + g[k] * x[k];
      if (p.w != nullptr) g[k] = g[k] * load4(p.w + i);
      sum += sum_of(g[k]);
      products += sum_of(g[k] * x[k]);
    });
    const float shift = centered ? fold_warp(sum, Add{}) / count : 0.0F;
    const float slope = fold_warp(products, Add{}) / count;
    const ResultRow dx(p.dx, row, p.n);
    each_four<fours>(p.n, [&](int k, int i) {
      dx.store4(i, moved(g[k] + x[k] * four_of(-slope), -shift, r) + residual[k]);
    });
    dx.pad(p.dx, p.n, threadIdx.x % 32);
  }
  if (sums == nullptr) return;
  for (unsigned turn = 0; turn < kWarps; ++turn) {
    if (turn == warp) {
      each_four<fours>(p.n, [&](int k, int i) {
        auto* const first = reinterpret_cast<float4*>(shared[0] + i);
        auto* const second = reinterpret_cast<float4*>(shared[1] + i);
        *first = turn == 0 ? dw[k] : *first + dw[k];
        *second = turn == 0 ? db[k] : *second + db[k];
      });
    }
    __syncthreads();
  }
  float* const to = sums + static_cast<int64_t>(blockIdx.x) * 2 * p.n;
  for (int64_t i = threadIdx.x; i < 2 * p.n; i += kSumsThreads)
    to[i] = i < p.n ? shared[0][i] : shared[1][i - p.n];
}

/// dx, and with it dw and db as far as they are not null.
template <bool centered>
void launch_warp_backward(Launch& launch, const Backward& p, float* dw, float* db, bool has_sums) {
  constexpr int64_t kWarps = kSumsThreads / 32;
  constexpr int64_t kMultiprocessors = 132;  // of the largest devices
  with_fours(p.n, [&](auto fours) {
    // as many blocks as registers let run at once
    constexpr int64_t kBlocks = kMultiprocessors * (fours() == 8 ? 2 : fours() == 2 ? 5 : 3);
    const int64_t rows = std::max(ceil_div(p.rows, kBlocks), kWarps);
    const int64_t blocks = ceil_div(p.rows, rows);
    float* const sums = has_sums ? launch.workspace<float>(blocks * 2 * p.n) : nullptr;
    launch.kernel(warp_backward_kernel<centered, fours()>, blocks, kSumsThreads, p, rows, sums);
    if (has_sums) launch_join_columns<float>(launch, sums, blocks, 2 * p.n, {dw, p.n, db});
  });
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
  float* const dw = attributes.dw ? launch.out(1) : nullptr;
  float* const db = attributes.db ? launch.out(attributes.dw ? 2 : 1) : nullptr;
  const bool has_sums = attributes.dw || attributes.db;
  if (fits_warp(p.n) && p.rows > 0)
    return launch_warp_backward<centered>(launch, p, dw, db, has_sums);
  if (has_sums) {
    const Channels s(cut_channels(p.rows, p.n, 1));
    auto* const sums = launch.workspace<double>(s.pieces * 2 * s.c);
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
