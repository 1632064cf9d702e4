// softmax, logSoftmax and their gradients over one axis of [outer, axis, inner]. With inner == 1 a
// row belongs to a warp or to a block; otherwise a thread has a row of its own and its neighbours
// the neighbouring ones. All may run in place: whoever has a row reads all of it before writing,
// and then reads what it overwrites first.
//
// The maximum and the sum are found in one pass, as M. Milakov and N. Gimelshein describe in
// "Online normalizer calculation for softmax" (2018).
#include "core/ops/softmax.h"

#include "cuda/device/online_softmax.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

enum class Form { kSoftmax, kLogSoftmax, kSoftmaxGrad, kLogSoftmaxGrad };

constexpr bool is_grad(Form form) {
  return form == Form::kSoftmaxGrad || form == Form::kLogSoftmaxGrad;
}

constexpr unsigned kThreads = 256;
constexpr int64_t kWarpIsEnough = 1024;  // elements of a row

/// What the elements of a row need to know of it all.
struct RowTotal {
  float largest, sum, log_sum;
};

template <Form form>
TANDEM_DEVICE float forward(const RowTotal& row, float x) {
  if constexpr (form == Form::kSoftmax) return expf(x - row.largest) / row.sum;
  return x - row.largest - row.log_sum;
}

template <Form form>
TANDEM_DEVICE float summand(float dy, float y) {
  return form == Form::kSoftmaxGrad ? dy * y : dy;
}

template <Form form>
TANDEM_DEVICE float backward(float sum, float dy, float y) {
  return form == Form::kSoftmaxGrad ? (dy - sum) * y : dy - expf(y) * sum;
}

/// `threads` threads a row. `a` is x, or dy with `b` the saved result.
template <Form form, unsigned threads>
__global__ void __launch_bounds__(kThreads)
    rows_kernel(const float* a, const float* b, float* out, int64_t rows, int64_t n) {
  constexpr unsigned kPerBlock = kThreads / threads;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kPerBlock + threadIdx.x / threads;
  if (row >= rows) return;  // whole warps alike
  const unsigned first = threadIdx.x % threads;
  a += row * n;
  out += row * n;
  if constexpr (is_grad(form)) {
    b += row * n;
    float sum = 0.0F;
    for (int64_t i = first; i < n; i += threads) sum += summand<form>(a[i], b[i]);
    sum = fold_threads<threads>(sum, Add{}, 0.0F);
    for (int64_t i = first; i < n; i += threads) out[i] = backward<form>(sum, a[i], b[i]);
  } else {
    OnlineSum partial;
    for (int64_t i = first; i < n; i += threads) partial.add(a[i]);
    const OnlineSum total = fold_online<threads>(partial);
    const RowTotal all{total.largest, total.sum, logf(total.sum)};
    for (int64_t i = first; i < n; i += threads) out[i] = forward<form>(all, a[i]);
  }
}

template <Form form>
__global__ void __launch_bounds__(kThreads)
    columns_kernel(const float* a, const float* b, float* out, int64_t columns, int64_t n,
                   int64_t inner) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= columns) return;
  const int64_t base = column / inner * n * inner + column % inner;
  a += base;
  out += base;
  if constexpr (is_grad(form)) {
    b += base;
    float sum = 0.0F;
    for (int64_t i = 0; i < n; ++i) sum += summand<form>(a[i * inner], b[i * inner]);
    for (int64_t i = 0; i < n; ++i)
      out[i * inner] = backward<form>(sum, a[i * inner], b[i * inner]);
  } else {
    OnlineSum total;
    for (int64_t i = 0; i < n; ++i) total.add(a[i * inner]);
    const RowTotal all{total.largest, total.sum, logf(total.sum)};
    for (int64_t i = 0; i < n; ++i) out[i * inner] = forward<form>(all, a[i * inner]);
  }
}

template <Form form>
void launch_softmax(Launch& launch) {
  const Tensor& x = launch.input(0);
  const int64_t axis = launch.attributes<ops::SoftmaxAttributes>().axis;
  const int64_t n = x.dims[axis];
  if (x.numel == 0) return;
  int64_t inner = 1;
  for (int64_t i = axis + 1; i < x.rank; ++i) inner *= x.dims[i];
  const int64_t rows = x.numel / n;
  const float* const a = launch.in(0);
  const float* const b = is_grad(form) ? launch.in(1) : nullptr;
  if (inner > 1) {
    launch.kernel(columns_kernel<form>, ceil_div(rows, kThreads), kThreads, a, b, launch.out(),
                  rows, n, inner);
  } else if (n <= kWarpIsEnough) {
    launch.kernel(rows_kernel<form, 32>, ceil_div(rows, kThreads / 32), kThreads, a, b,
                  launch.out(), rows, n);
  } else {
    launch.kernel(rows_kernel<form, kThreads>, rows, kThreads, a, b, launch.out(), rows, n);
  }
}

}  // namespace

void launch_softmax(Launch& launch) { launch_softmax<Form::kSoftmax>(launch); }
void launch_softmaxGrad(Launch& launch) { launch_softmax<Form::kSoftmaxGrad>(launch); }
void launch_logSoftmax(Launch& launch) { launch_softmax<Form::kLogSoftmax>(launch); }
void launch_logSoftmaxGrad(Launch& launch) { launch_softmax<Form::kLogSoftmaxGrad>(launch); }

}  // namespace tandem::cuda
