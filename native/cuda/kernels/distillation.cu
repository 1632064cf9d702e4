// distillation and its gradient. With p = softmax(x / T) and q = softmax(teacher / T) by row,
//   loss = T^2 / rows * sum over rows of sum q (log q - log p)
//   dx = g T / rows * (p - q)
// With weights, each of which holds for `inner` neighbouring rows, the sum is weighted and rows are
// the divisor times inner; what has a weight of 0 does not count, not even as NaN.
// A row belongs to a warp or to a block; one block adds the rows' losses in order. dx (=) may lie
// on x: the sums are there before it is written, and an element is read by who writes it.
#include "core/ops/distillation.h"

#include "cuda/device/fold.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int64_t kWarpIsEnough = 1024;  // classes

struct Distillation {
  int64_t rows, classes;
  int64_t inner;
  float temperature;
  const float *x, *teacher;
  const float* weights;  // null: all ones, and no divisor
  const float* divisor;
  const float* g;  // null: the loss is asked for, by row in `losses`
  double* losses;
  float* dx;
};

/// 1 / rows, or with weights by what they are divided by; 0 where nothing counts.
TANDEM_DEVICE double share_of_row(const Distillation& p) {
  if (p.weights == nullptr) return 1.0 / static_cast<double>(p.rows);
  const double divisor = static_cast<double>(*p.divisor) * static_cast<double>(p.inner);
  return divisor == 0.0 ? 0.0 : 1.0 / divisor;
}

/// `threads` threads a row: a warp, or the block.
template <unsigned threads>
__global__ void __launch_bounds__(kThreads) rows_kernel(Distillation p) {
  constexpr unsigned kPerBlock = kThreads / threads;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kPerBlock + threadIdx.x / threads;
  if (row >= p.rows) return;  // whole warps alike
  const unsigned first = threadIdx.x % threads;
  const float* const x = p.x + row * p.classes;
  const float* const teacher = p.teacher + row * p.classes;
  const float weight = p.weights == nullptr ? 1.0F : p.weights[row / p.inner];
  if (weight == 0.0F) {
    if (p.g == nullptr && first == 0) p.losses[row] = 0.0;
    for (int64_t i = first; p.g != nullptr && i < p.classes; i += threads)
      p.dx[row * p.classes + i] = 0.0F;
    return;
  }
  const float factor = 1.0F / p.temperature;
  float x0 = -INFINITY;
  float t0 = -INFINITY;
  for (int64_t i = first; i < p.classes; i += threads) {
    x0 = Largest{}(x[i], x0);
    t0 = Largest{}(teacher[i], t0);
  }
  x0 = fold_threads<threads>(x0, Largest{}, -INFINITY);
  t0 = fold_threads<threads>(t0, Largest{}, -INFINITY);
  double student = 0.0;
  double teachers = 0.0;
  double products = 0.0;
  for (int64_t i = first; i < p.classes; i += threads) {
    const float a = (x[i] - x0) * factor;
    const float b = (teacher[i] - t0) * factor;
    const float power = expf(b);
    student += static_cast<double>(expf(a));
    teachers += static_cast<double>(power);
    products += static_cast<double>(power * (b - a));
  }
  student = fold_threads<threads>(student, Add{}, 0.0);
  teachers = fold_threads<threads>(teachers, Add{}, 0.0);
  if (p.g == nullptr) {
    products = fold_threads<threads>(products, Add{}, 0.0);
    if (first == 0) {
      p.losses[row] =
          static_cast<double>(weight) * (products / teachers + log(student) - log(teachers));
    }
    return;
  }
  const double scale = static_cast<double>(*p.g) * static_cast<double>(p.temperature) *
                       static_cast<double>(weight) * share_of_row(p);
  const auto of_x = static_cast<float>(scale / student);
  const auto of_teacher = static_cast<float>(scale / teachers);
  float* const dx = p.dx + row * p.classes;
  for (int64_t i = first; i < p.classes; i += threads)
    dx[i] = expf((x[i] - x0) * factor) * of_x - expf((teacher[i] - t0) * factor) * of_teacher;
}

/// Of no rows the mean is NaN.
__global__ void __launch_bounds__(kThreads) mean_kernel(Distillation p, float* loss) {
  const double sum = sum_all<kThreads>(p.losses, p.rows);
  const auto t = static_cast<double>(p.temperature);
  if (threadIdx.x == 0) *loss = static_cast<float>(t * t * sum * share_of_row(p));
}

/// `weights`: the operand's number, if it is there.
void launch_rows(Launch& launch, Distillation& p, int weights) {
  const Tensor& x = launch.input(0);
  p.classes = x.dims[x.rank - 1];
  p.rows = x.numel / p.classes;
  p.temperature = launch.attributes<ops::DistillationAttributes>().temperature;
  p.x = launch.in(0);
  p.teacher = launch.in(1);
  p.weights = launch.in(weights);
  p.divisor = launch.in(weights + 1);
  p.inner = launch.has_input(weights) && launch.input(weights).numel > 0
                ? p.rows / launch.input(weights).numel
                : 1;
  if (p.classes <= kWarpIsEnough) {
    launch.kernel(rows_kernel<32>, ceil_div(p.rows, kThreads / 32), kThreads, p);
  } else {
    launch.kernel(rows_kernel<kThreads>, p.rows, kThreads, p);
  }
}

}  // namespace

void launch_distillation(Launch& launch) {
  const Tensor& x = launch.input(0);
  Distillation p{};
  p.losses = launch.workspace<double>(x.numel / x.dims[x.rank - 1] + 1);
  launch_rows(launch, p, 2);
  launch.kernel(mean_kernel, 1, kThreads, p, launch.out());
}

void launch_distillationGrad(Launch& launch) {
  Distillation p{};
  p.g = launch.in(2);
  p.dx = launch.out();
  launch_rows(launch, p, 3);
}

}  // namespace tandem::cuda
