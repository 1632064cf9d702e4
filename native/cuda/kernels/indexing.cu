// embedding, gather and gather's gradient: elements chosen by numbers. Numbers out of range read
// nothing and give NaN, or 0 where elements are int32. gather sees x as [outer, length, inner],
// index and y as [outer, count, inner]; in its gradient a thread has one place in outer and inner,
// whose sums it adds up in the order of the axis.
#include "core/ops/embedding.h"
#include "core/ops/gather.h"

#include "cuda/device/index.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr uint32_t kNaN = 0x7fc00000;

TANDEM_DEVICE int64_t thread_index() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

__global__ void __launch_bounds__(kThreads)
    lookup_kernel(const int32_t* index, const uint32_t* table, uint32_t* out, int64_t n,
                  int64_t count, int64_t dim) {
  const int64_t i = thread_index();
  if (i >= n) return;
  const int64_t row = index[i / dim];
  out[i] = row >= 0 && row < count ? table[row * dim + i % dim] : kNaN;
}

struct Places {
  int64_t outer, length, count, inner;
};

Places places_of(const Tensor& index, const ops::GatherAttributes& attributes) {
  Places p{1, attributes.length, index.dims[attributes.axis], stride_of(index, attributes.axis)};
  for (int64_t i = 0; i < attributes.axis; ++i) p.outer *= index.dims[i];
  return p;
}

__global__ void __launch_bounds__(kThreads)
    gather_kernel(Places p, const uint32_t* x, const int32_t* index, uint32_t* y, int64_t n,
                  uint32_t nothing) {
  const int64_t i = thread_index();
  if (i >= n) return;
  const int64_t number = index[i];
  const int64_t outer = i / (p.count * p.inner);
  const bool inside = number >= 0 && number < p.length;
  y[i] = inside ? x[(outer * p.length + number) * p.inner + i % p.inner] : nothing;
}

__global__ void __launch_bounds__(kThreads)
    scatter_kernel(Places p, const int32_t* index, const float* dy, float* dx) {
  const int64_t column = thread_index();
  if (column >= p.outer * p.inner) return;
  const int64_t outer = column / p.inner;
  const int64_t inner = column % p.inner;
  float* const to = dx + outer * p.length * p.inner + inner;
  for (int64_t i = 0; i < p.length; ++i) to[i * p.inner] = 0.0F;
  for (int64_t i = 0; i < p.count; ++i) {
    const int64_t from = (outer * p.count + i) * p.inner + inner;
    const int64_t number = index[from];
    if (number >= 0 && number < p.length) to[number * p.inner] += dy[from];
  }
}

}  // namespace

void launch_embedding(Launch& launch) {
  const Tensor& table = launch.input(1);
  const int64_t n = launch.output().numel;
  launch.kernel(lookup_kernel, ceil_div(n, kThreads), kThreads, launch.in<int32_t>(0),
                launch.in<uint32_t>(1), launch.out<uint32_t>(), n, table.dims[0], table.dims[1]);
}

void launch_gather(Launch& launch) {
  const Places p = places_of(launch.input(1), launch.attributes<ops::GatherAttributes>());
  const int64_t n = launch.output().numel;
  const uint32_t nothing = launch.input(0).dtype == DType::kFloat32 ? kNaN : 0;
  launch.kernel(gather_kernel, ceil_div(n, kThreads), kThreads, p, launch.in<uint32_t>(0),
                launch.in<int32_t>(1), launch.out<uint32_t>(), n, nothing);
}

void launch_gatherGrad(Launch& launch) {
  const Places p = places_of(launch.input(0), launch.attributes<ops::GatherAttributes>());
  launch.kernel(scatter_kernel, ceil_div(p.outer * p.inner, kThreads), kThreads, p,
                launch.in<int32_t>(0), launch.in(1), launch.out());
}

}  // namespace tandem::cuda
