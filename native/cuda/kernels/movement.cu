// Moves 4-byte elements of any type: copy, concat, slice, sliceGrad, broadcastTo, transpose. All
// are walks: element i of the output, or of a part, comes from where the walk says. Planes that a
// transpose turns go through shared memory, so that reads and writes are both whole lines. reshape
// and flatten are aliases: nothing runs.
#include "core/ops/broadcast_to.h"
#include "core/ops/concat.h"
#include "core/ops/slice.h"
#include "core/ops/transpose.h"

#include "cuda/device/index.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;

// ---- walks -------------------------------------------------------------------------------------

/// out[walk.strides[0]] = in[walk.strides[1]] over all positions of the walk.
template <bool small>
__global__ void __launch_bounds__(kThreads)
    move_kernel(Walk<2> walk, const uint32_t* in, uint32_t* out, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  int64_t at[2];
  locate<small>(walk, i, at);
  out[at[0]] = in[at[1]];
}

void move(Launch& launch, Walk<2>& walk, const uint32_t* in, uint32_t* out) {
  walk.finish();
  const int64_t n = walk.count();
  const int64_t blocks = ceil_div(n, kThreads);
  if (walk.is_small()) {
    launch.kernel(move_kernel<true>, blocks, kThreads, walk, in, out, n);
  } else {
    launch.kernel(move_kernel<false>, blocks, kThreads, walk, in, out, n);
  }
}

/// A tensor seen as [outer, axis, inner].
struct Rows {
  int64_t outer, axis, inner;
};
Rows rows_of(const Tensor& tensor, int64_t axis) {
  const int64_t inner = stride_of(tensor, axis);
  const int64_t row = tensor.dims[axis] * inner;
  return {row == 0 ? 0 : tensor.numel / row, tensor.dims[axis], inner};
}

/// The elements that a slice takes, in their places in the whole tensor and in the slice.
Walk<2> slice_walk(const ops::SliceAttributes& a, const Rows& whole, int64_t length,
                   bool into_whole) {
  Walk<2> walk;
  const auto add = [&](int64_t dim, int64_t in_whole, int64_t in_slice) {
    if (into_whole) {
      walk.add(dim, {in_whole, in_slice});
    } else {
      walk.add(dim, {in_slice, in_whole});
    }
  };
  add(whole.outer, whole.axis * whole.inner, length * whole.inner);
  add(length, a.step * whole.inner, whole.inner);
  add(whole.inner, 1, 1);
  return walk;
}

// ---- planes ------------------------------------------------------------------------------------

constexpr int kPlane = 32;

/// For each batch, out[r][c] = in[c][r] by squares of 32 x 32. A column more than that in shared
/// memory keeps a column's elements in different banks.
struct Plane {
  Walk<2> batches;        // strides[0] of the output, strides[1] of the input
  int64_t rows, columns;  // of the output
  int64_t out_stride, in_stride;
  int64_t across, down;  // squares
};

template <bool small>
__global__ void __launch_bounds__(kThreads)
    plane_kernel(Plane p, const uint32_t* in, uint32_t* out) {
  constexpr unsigned kLines = kThreads / kPlane;
  __shared__ uint32_t square[kPlane][kPlane + 1];
  const int64_t block = blockIdx.x;
  int64_t at[2];
  locate<small>(p.batches, block / (p.across * p.down), at);
  const int64_t c0 = block % p.across * kPlane;
  const int64_t r0 = block / p.across % p.down * kPlane;
  const unsigned x = threadIdx.x % kPlane;
  const unsigned y = threadIdx.x / kPlane;
  for (unsigned line = y; line < kPlane; line += kLines) {
    if (c0 + line < p.columns && r0 + x < p.rows)
      square[line][x] = in[at[1] + (c0 + line) * p.in_stride + r0 + x];
  }
  __syncthreads();
  for (unsigned line = y; line < kPlane; line += kLines) {
    if (r0 + line < p.rows && c0 + x < p.columns)
      out[at[0] + (r0 + line) * p.out_stride + c0 + x] = square[x][line];
  }
}

/// `walk` has the strides of the output, which is contiguous, and of the input, whose innermost
/// axis is `inner`.
void move_planes(Launch& launch, const Walk<2>& walk, int inner) {
  const int last = walk.rank - 1;
  Plane p{};
  for (int i = 0; i < last; ++i) {
    if (i != inner) p.batches.add(walk.dims[i], {walk.strides[0][i], walk.strides[1][i]});
  }
  p.batches.finish();
  p.columns = walk.dims[last];
  p.rows = walk.dims[inner];
  p.in_stride = walk.strides[1][last];
  p.out_stride = walk.strides[0][inner];
  p.across = ceil_div(p.columns, kPlane);
  p.down = ceil_div(p.rows, kPlane);
  const int64_t blocks = p.batches.count() * p.across * p.down;
  const auto* const in = launch.in<uint32_t>(0);
  if (p.batches.is_small()) {
    launch.kernel(plane_kernel<true>, blocks, kThreads, p, in, launch.out<uint32_t>());
  } else {
    launch.kernel(plane_kernel<false>, blocks, kThreads, p, in, launch.out<uint32_t>());
  }
}

}  // namespace

void launch_reshape(Launch& /*launch*/) {}
void launch_flatten(Launch& /*launch*/) {}

void launch_copy(Launch& launch) {
  Walk<2> walk;
  walk.add(launch.output().numel, {1, 1});
  move(launch, walk, launch.in<uint32_t>(0), launch.out<uint32_t>());
}

void launch_concat(Launch& launch) {
  const int64_t axis = launch.attributes<ops::Concat::Attributes>().axis;
  const Rows whole = rows_of(launch.output(), axis);
  uint32_t* out = launch.out<uint32_t>();
  for (int i = 0; i < launch.input_count(); ++i) {
    const int64_t run = launch.input(i).dims[axis] * whole.inner;
    Walk<2> walk;
    walk.add(whole.outer, {whole.axis * whole.inner, run});
    walk.add(run, {1, 1});
    if (launch.input(i).numel > 0) move(launch, walk, launch.in<uint32_t>(i), out);
    if (out != nullptr) out += run;
  }
}

void launch_slice(Launch& launch) {
  const auto& a = launch.attributes<ops::SliceAttributes>();
  if (launch.output().numel == 0) return;
  const Rows whole = rows_of(launch.input(0), a.axis);
  Walk<2> walk = slice_walk(a, whole, launch.output().dims[a.axis], false);
  const uint32_t* in = launch.in<uint32_t>(0);
  if (in != nullptr) in += a.start * whole.inner;
  move(launch, walk, in, launch.out<uint32_t>());
}

void launch_sliceGrad(Launch& launch) {
  const auto& a = launch.attributes<ops::SliceAttributes>();
  uint32_t* out = launch.out<uint32_t>();
  launch.zero(out, launch.output().numel * 4);
  if (launch.input(0).numel == 0) return;
  const Rows whole = rows_of(launch.output(), a.axis);
  Walk<2> walk = slice_walk(a, whole, launch.input(0).dims[a.axis], true);
  if (out != nullptr) out += a.start * whole.inner;
  move(launch, walk, launch.in<uint32_t>(0), out);
}

void launch_broadcastTo(Launch& launch) {
  const Tensor& out = launch.output();
  if (out.numel == 0) return;
  Walk<2> walk;
  for (int32_t i = 0; i < out.rank; ++i) {
    const int64_t dim = out.dims[i];
    walk.add(dim, {stride_of(out, i), broadcast_stride(launch.input(0), out.rank, i, dim)});
  }
  move(launch, walk, launch.in<uint32_t>(0), launch.out<uint32_t>());
}

void launch_transpose(Launch& launch) {
  const IntList& perm = launch.attributes<ops::Transpose::Attributes>().perm;
  const Tensor& x = launch.input(0);
  const Tensor& out = launch.output();
  if (out.numel == 0) return;
  Walk<2> walk;
  for (int32_t i = 0; i < out.rank; ++i)
    walk.add(out.dims[i], {stride_of(out, i), stride_of(x, perm.values[i])});
  int inner = walk.rank - 1;
  while (inner >= 0 && walk.strides[1][inner] != 1) --inner;
  if (inner >= 0 && inner < walk.rank - 1) return move_planes(launch, walk, inner);
  move(launch, walk, launch.in<uint32_t>(0), launch.out<uint32_t>());
}

}  // namespace tandem::cuda
