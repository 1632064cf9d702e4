// accuracy: the share of rows whose first largest entry is at the class number `target`, or, with
// one class, whose sign agrees with it. Rows of a negative target do not count; without any the
// share is NaN. A row that holds NaN is wrong. A warp has a row; one block adds up.
#include "core/ops/accuracy.h"

#include "cuda/device/fold.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kSumThreads = 1024;

/// Whether the first largest of `n` entries is at `target`; every lane gets the answer.
TANDEM_DEVICE bool is_hit(const float* x, int64_t n, int64_t target) {
  const float value = x[target];
  bool beaten = value != value;
  for (int64_t i = threadIdx.x % 32; i < n; i += 32)
    beaten = beaten || x[i] > value || x[i] != x[i] || (i < target && x[i] == value);
  return !__any_sync(kAllLanes, beaten);
}

/// Into `hits`, by row: 1 right, 0 wrong, -1 does not count.
__global__ void __launch_bounds__(kThreads)
    rows_kernel(const float* x, const void* targets, bool float_target, int8_t* hits, int64_t rows,
                int64_t classes) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (row >= rows) return;  // whole warps alike
  // as a double: any int32 and float is one, and a float target need not be a whole number
  const double target = float_target
                            ? static_cast<double>(static_cast<const float*>(targets)[row])
                            : static_cast<double>(static_cast<const int32_t*>(targets)[row]);
  int8_t hit = 0;
  if (target < 0.0) {
    hit = -1;
  } else if (classes == 1) {
    hit = x[row] == x[row] && target == (x[row] > 0.0F ? 1.0 : 0.0) ? 1 : 0;
  } else if (target < static_cast<double>(classes)) {
    const auto whole = static_cast<int64_t>(target);
    const bool right = is_hit(x + row * classes, classes, whole);
    hit = right && static_cast<double>(whole) == target ? 1 : 0;
  }
  if (threadIdx.x % 32 == 0) hits[row] = hit;
}

__global__ void __launch_bounds__(kSumThreads)
    share_kernel(const int8_t* hits, int64_t rows, float* out) {
  double right = 0.0;
  double counted = 0.0;
  for (int64_t i = threadIdx.x; i < rows; i += kSumThreads) {
    right += hits[i] > 0 ? 1.0 : 0.0;
    counted += hits[i] >= 0 ? 1.0 : 0.0;
  }
  right = fold_threads<kSumThreads>(right, Add{}, 0.0);
  counted = fold_threads<kSumThreads>(counted, Add{}, 0.0);
  if (threadIdx.x == 0) *out = static_cast<float>(right / counted);
}

}  // namespace

void launch_accuracy(Launch& launch) {
  const Tensor& x = launch.input(0);
  const int64_t classes = x.dims[x.rank - 1];
  const int64_t rows = x.numel / classes;
  const bool float_target = launch.input(1).dtype == DType::kFloat32;
  auto* const hits = launch.workspace<int8_t>(rows + 1);
  const void* const targets = launch.in<void>(1);
  launch.kernel(rows_kernel, ceil_div(rows, kThreads / 32), kThreads, launch.in(0), targets,
                float_target, hits, rows, classes);
  launch.kernel(share_kernel, 1, kSumThreads, hits, rows, launch.out());
}

}  // namespace tandem::cuda
