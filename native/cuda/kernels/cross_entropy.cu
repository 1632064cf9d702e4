// Softmax cross-entropy of class numbers, as PyTorch's cross_entropy with reduction "mean":
//   loss = sum over rows that count of v [(1 - s) w_t (L - x_t) + s / C sum_c w_c (L - x_c)] / D,
// where L = log sum_c exp(x_c), s is the label smoothing, w are the classes' weights, v is the
// row's own, one for `inner` neighbouring rows, and D the divisor, which is an operand. The
// gradient in x_c is
//   g v [((1 - s) w_t + s / C sum w) p_c - s / C w_c - (1 - s) w_t [c = t]] / D, and 0 where D is.
// Kernels: rows, each with its part of the loss; the loss, by one block. A row whose target is no
// class reads nothing and gives NaN, in the loss and in its gradient; one with v = 0 counts as
// ignored. Without a target that counts the mean is NaN, but 0 where row weights say so.
// countTargets, by one block: the sum of v w_t over the targets that count.
#include "core/ops/count_targets.h"
#include "core/ops/cross_entropy.h"

#include "cuda/device/launch_bounds.cuh"
#include "cuda/device/online_softmax.cuh"
#include "cuda/device/result.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/device_attribute.h"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kSumThreads = 1024;   // of the kernels that have one block
constexpr int64_t kWarpIsEnough = 1024;  // classes
constexpr unsigned kLongThreads = 1024;
constexpr int64_t kLong = 8192;  // classes, from which on a row is kept in shared memory

struct Loss {
  int64_t rows, classes, ignore;
  int64_t along;           // from row to row of x
  int64_t inner;           // rows of a row weight
  double smoothing, each;  // each: of a class
  const float* x;
  const int32_t* targets;
  const float* weights;      // of classes; null: all ones
  const float* row_weights;  // null: all ones
  const float* divisor;
  const float* dy;  // null: one
  double* parts;    // of the loss, by row; null where only the gradient is asked for
  Result dx;        // nothing where only the loss is
};

TANDEM_DEVICE double share_of(const Loss& p) {
  const auto divisor = static_cast<double>(*p.divisor);
  return p.row_weights != nullptr && divisor == 0.0 ? 0.0 : 1.0 / divisor;
}

/// The same of slopes: where nothing counts there is nothing to learn, and a NaN would be the end
/// of all parameters.
TANDEM_DEVICE double slope_share_of(const Loss& p) {
  const auto divisor = static_cast<double>(*p.divisor);
  return divisor == 0.0 ? 0.0 : 1.0 / divisor;
}

struct Count {
  int64_t n, inner, classes, ignore;
  bool ignore_negative;
  const float* class_weights;  // null: all ones
  const float* weights;        // null: all ones
};

template <typename T>
__global__ void __launch_bounds__(kSumThreads)
    count_kernel(Count p, const T* targets, float* number) {
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < p.n; i += kSumThreads) {
    const T target = targets[i];
    if (static_cast<double>(target) == static_cast<double>(p.ignore)) continue;
    if (p.ignore_negative && target < T{0}) continue;
    double weight = p.weights == nullptr ? 1.0 : static_cast<double>(p.weights[i / p.inner]);
    if (p.class_weights != nullptr) {
      const auto of = static_cast<int64_t>(target);
      if (of < 0 || of >= p.classes) continue;
      weight *= static_cast<double>(p.class_weights[of]);
    }
    sum += weight;
  }
  sum = fold_threads<kSumThreads>(sum, Add{}, 0.0);
  if (threadIdx.x == 0) *number = static_cast<float>(sum);
}

/// The sum over classes of w (x - shift), and the sum of w.
struct Spread {
  float x, weights;
};
template <unsigned threads>
TANDEM_DEVICE Spread spread_of(const Loss& p, const float* x, float shift) {
  Spread s{0.0F, 0.0F};
  for (int64_t i = threadIdx.x % threads; i < p.classes; i += threads) {
    const float w = p.weights == nullptr ? 1.0F : p.weights[i];
    s.x += w * (x[i] - shift);
    s.weights += w;
  }
  return {fold_threads<threads>(s.x, Add{}, 0.0F), fold_threads<threads>(s.weights, Add{}, 0.0F)};
}

/// What a row counts, and whether its target is a class.
struct RowTarget {
  int64_t target;
  double own;
  bool counts, is_class;
  TANDEM_DEVICE RowTarget(const Loss& p, int64_t row)
      : target(p.targets[row]),
        own(p.row_weights == nullptr ? 1.0 : static_cast<double>(p.row_weights[row / p.inner])),
        counts(target != p.ignore && own != 0.0),
        is_class(target >= 0 && target < p.classes) {}
};

/// The derivative of a row: on_p exp(x - largest) - each w - hit [c = t].
struct Slopes {
  float on_p, each, hit;
};

/// The row's part of the loss, by thread 0 of those that have it, and its slopes.
TANDEM_DEVICE Slopes finish_row(const Loss& p, int64_t row, RowTarget t, OnlineSum all,
                                Spread spread, float x_target, bool is_first) {
  const double weight = p.weights == nullptr ? 1.0 : static_cast<double>(p.weights[t.target]);
  const double on_target = t.own * (1.0 - p.smoothing) * weight;
  const double on_each = t.own * p.each;
  if (p.parts != nullptr && is_first) {
    const auto log_sum = static_cast<double>(logf(all.sum));
    const double below = static_cast<double>(x_target) - static_cast<double>(all.largest);
    p.parts[row] =
        on_target * (log_sum - below) +
        on_each * (static_cast<double>(spread.weights) * log_sum - static_cast<double>(spread.x));
  }
  const double scale = (p.dy == nullptr ? 1.0 : static_cast<double>(*p.dy)) * slope_share_of(p);
  const auto on_p =
      static_cast<float>(scale * (on_target + on_each * static_cast<double>(spread.weights)) /
                         static_cast<double>(all.sum));
  return {on_p, static_cast<float>(scale * on_each), static_cast<float>(scale * on_target)};
}

/// The derivative in x of class `i`, `power` being its exp(x - largest).
TANDEM_DEVICE float derivative(const Loss& p, const Slopes& slopes, int64_t target, int64_t i,
                               float power) {
  float d = power * slopes.on_p;
  if (p.smoothing > 0.0) d -= slopes.each * (p.weights == nullptr ? 1.0F : p.weights[i]);
  return i == target ? d - slopes.hit : d;
}

/// What rows give that are ignored, or whose target is no class.
template <unsigned threads>
TANDEM_DEVICE void skip_row(const Loss& p, int64_t row, const RowTarget& t, const ResultRow& dx,
                            bool has_dx) {
  const unsigned first = threadIdx.x % threads;
  const float nothing = t.counts ? NAN : 0.0F;
  if (p.parts != nullptr && first == 0) p.parts[row] = static_cast<double>(nothing);
  for (int64_t i = first; has_dx && i < p.classes; i += threads) dx.store(i, nothing);
}

/// `threads` threads a row: a warp, or the block.
template <unsigned threads>
__global__ void __launch_bounds__(kThreads) rows_kernel(Loss p) {
  constexpr unsigned kPerBlock = kThreads / threads;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kPerBlock + threadIdx.x / threads;
  if (row >= p.rows) return;  // whole warps alike
  const unsigned first = threadIdx.x % threads;
  const float* const x = p.x + row * p.along;
  const ResultRow dx(p.dx, row, p.classes);
  const bool has_dx = dx.y != nullptr || dx.rounded != nullptr;
  dx.pad(p.dx, p.classes, first);
  const RowTarget t(p, row);
  if (!t.counts || !t.is_class) return skip_row<threads>(p, row, t, dx, has_dx);
  OnlineSum partial;
  for (int64_t i = first; i < p.classes; i += threads) partial.add(x[i]);
  const OnlineSum all = fold_online<threads>(partial);
  Spread spread{0.0F, 0.0F};
  if (p.smoothing > 0.0) spread = spread_of<threads>(p, x, all.largest);
  const Slopes slopes = finish_row(p, row, t, all, spread, x[t.target], first == 0);
  if (!has_dx) return;
  // in place of x: all have read x[target] before anyone writes it
  if constexpr (threads == 32) {
    __syncwarp();
  } else {
    __syncthreads();
  }
  for (int64_t i = first; i < p.classes; i += threads)
    dx.store(i, derivative(p, slopes, t.target, i, expf(x[i] - all.largest)));
}

/// A block a row, which lies in shared memory from its one reading on: rows of tens of thousands of
/// classes would have left the cache before they are read again.
__global__ void TANDEM_LAUNCH_BOUNDS(kLongThreads) long_rows_kernel(Loss p) {
  float* const kept = dynamic_shared();
  const int64_t row = blockIdx.x;
  const unsigned first = threadIdx.x;
  const float* const x = p.x + row * p.along;
  const ResultRow dx(p.dx, row, p.classes);
  dx.pad(p.dx, p.classes, first);
  const RowTarget t(p, row);
  if (!t.counts || !t.is_class) return skip_row<kLongThreads>(p, row, t, dx, true);
  float largest = -INFINITY;
  const int64_t whole = p.along % 4 == 0 ? p.classes / 4 * 4 : 0;  // what is read in fours
#pragma unroll 4
  for (int64_t i = 4 * first; i < whole; i += 4 * kLongThreads) {
    const float4 four = __ldcs(reinterpret_cast<const float4*>(x + i));
    *reinterpret_cast<float4*>(kept + i) = four;
    largest = Largest{}(Largest{}(four.x, four.y), Largest{}(Largest{}(four.z, four.w), largest));
  }
  for (int64_t i = whole + first; i < p.classes; i += kLongThreads) {
    kept[i] = x[i];
    largest = Largest{}(kept[i], largest);
  }
  largest = fold_threads<kLongThreads>(largest, Largest{}, -INFINITY);
  Spread spread{0.0F, 0.0F};
  if (p.smoothing > 0.0) spread = spread_of<kLongThreads>(p, kept, largest);
  const float x_target = kept[t.target];
  __syncthreads();  // powers take the place of the numbers
  float sum = 0.0F;
  for (int64_t i = first; i < p.classes; i += kLongThreads) {
    const float value = kept[i];
    const float power = expf(value - largest);
    kept[i] = power;
    sum += value == largest ? 1.0F : power;
  }
  sum = fold_threads<kLongThreads>(sum, Add{}, 0.0F);
  const Slopes slopes = finish_row(p, row, t, {largest, sum}, spread, x_target, first == 0);
  const bool halves_alone = dx.y == nullptr && (p.classes + p.dx.padding) % 4 == 0;
  const int64_t fours = halves_alone ? p.classes / 4 * 4 : 0;
  for (int64_t i = 4 * first; i < fours; i += 4 * kLongThreads) {
    const float4 power = *reinterpret_cast<const float4*>(kept + i);
    const auto at = [&](int64_t k, float value) {
      return derivative(p, slopes, t.target, i + k, value);
    };
    *reinterpret_cast<uint2*>(dx.rounded + i) =
        make_uint2(round_pair(at(0, power.x), at(1, power.y), dx.bfloat16),
                   round_pair(at(2, power.z), at(3, power.w), dx.bfloat16));
  }
  for (int64_t i = fours + first; i < p.classes; i += kLongThreads)
    dx.store(i, derivative(p, slopes, t.target, i, kept[i]));
}

/// Whether a row finds room beside what blocks have of their own.
bool fits_shared(int64_t bytes) {
  constexpr int64_t kOwn = 1024;
  return bytes + kOwn <=
         device_attribute(current_device(), cudaDevAttrMaxSharedMemoryPerBlockOptin);
}

__global__ void __launch_bounds__(kSumThreads) loss_kernel(Loss p, float* loss) {
  const double sum = sum_all<kSumThreads>(p.parts, p.rows);
  if (threadIdx.x == 0) *loss = static_cast<float>(sum * share_of(p));
}

void launch_loss(Launch& launch, float* loss, bool has_loss, const Result& dx) {
  const auto& attributes = launch.attributes<ops::CrossEntropyAttributes>();
  const Tensor& x = launch.input(0);
  Loss p{};
  p.classes = x.dims[x.rank - 1];
  p.rows = x.numel / p.classes;
  p.along = p.classes + x.padding;
  p.ignore = attributes.ignore_index;
  p.smoothing = static_cast<double>(attributes.label_smoothing);
  p.each = p.smoothing / static_cast<double>(p.classes);
  p.x = launch.in(0);
  p.targets = launch.in<int32_t>(1);
  p.weights = launch.in(2);
  p.row_weights = launch.in(3);
  p.inner = launch.has_input(3) && launch.input(3).numel > 0 ? p.rows / launch.input(3).numel : 1;
  p.divisor = launch.in(4);
  p.dy = launch.in(5);
  p.dx = dx;
  p.parts = has_loss ? launch.workspace<double>(p.rows + 1) : nullptr;
  const bool has_gradient = dx.y != nullptr || dx.rounded != nullptr;
  const int64_t kept = p.classes * static_cast<int64_t>(sizeof(float));
  if (p.classes <= kWarpIsEnough) {
    launch.kernel(rows_kernel<32>, ceil_div(p.rows, kThreads / 32), kThreads, p);
  } else if (has_gradient && p.classes >= kLong && fits_shared(kept)) {
    launch.kernel_with_shared(long_rows_kernel, p.rows, kLongThreads, kept, p);
  } else {
    launch.kernel(rows_kernel<kThreads>, p.rows, kThreads, p);
  }
  if (has_loss) launch.kernel(loss_kernel, 1, kSumThreads, p, loss);
}

}  // namespace

void launch_countTargets(Launch& launch) {
  const auto& attributes = launch.attributes<ops::CountTargetsAttributes>();
  const Tensor& targets = launch.input(0);
  Count p{};
  p.n = targets.numel;
  p.ignore = attributes.ignore_index;
  p.ignore_negative = attributes.ignore_negative;
  p.class_weights = launch.in(1);
  p.classes = launch.has_input(1) ? launch.input(1).numel : 0;
  p.weights = launch.in(2);
  p.inner = launch.has_input(2) && launch.input(2).numel > 0 ? p.n / launch.input(2).numel : 1;
  if (targets.dtype == DType::kFloat32) {
    launch.kernel(count_kernel<float>, 1, kSumThreads, p, launch.in(0), launch.out());
  } else {
    launch.kernel(count_kernel<int32_t>, 1, kSumThreads, p, launch.in<int32_t>(0), launch.out());
  }
}
void launch_crossEntropy(Launch& launch) { launch_loss(launch, launch.out(), true, {}); }
void launch_crossEntropyGrad(Launch& launch) {
  launch_loss(launch, nullptr, false, launch.result());
}
void launch_softmaxCrossEntropy(Launch& launch) {
  launch_loss(launch, launch.out(0), true, launch.result());
}

}  // namespace tandem::cuda
