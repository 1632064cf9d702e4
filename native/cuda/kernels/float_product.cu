// Small products of floats: y = epilogue(op(a) op(b) + bias) in one kernel. A block has a tile of
// y, copies factors to shared memory some stages ahead, and its warps multiply them on tensor cores
// (device/float_tile.cuh). Where there are fewer tiles than multiprocessors, blocks of a cluster
// share a tile, each with a piece of the sums: then every block reads some rows of all pieces out
// of the others' shared memory and adds them up in the order of the blocks, so that the bits are
// the same in every run.
#include "cuda/float_product.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "cuda/check.h"
#include "cuda/device/cluster.cuh"
#include "cuda/device/float_tile.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/device_attribute.h"
#include "cuda/shared_memory.h"

namespace tandem::cuda {
namespace {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct FloatProduct {
  FloatMatrix a, b;
  int64_t a_step, b_step, y_step;
  float* y;
  int64_t y_along;
  const float* bias;  // null for none
  float* saved;       // rows of n; null where the epilogue has none
  int32_t m, n, k;
  int32_t row_tiles, column_tiles, splits;
  ProductEpilogue epilogue;
  bool whole_y, whole_saved;  // four columns may be written, or read, at a time
};

/// Where a tile lies.
struct TileOfY {
  int64_t batch;
  int32_t row, column;
};

template <typename T>
TANDEM_DEVICE TileOfY tile_of_y(const FloatProduct& p) {
  const auto i = static_cast<int32_t>(blockIdx.x) / p.splits;
  const int32_t line = i / p.column_tiles;
  return {line / p.row_tiles, line % p.row_tiles * T::kSide, i % p.column_tiles * T::kSide};
}

TANDEM_DEVICE float gelu(float x) {
  const float s = sigmoid_(1.5957691216057308F * (x + 0.044715F * x * x * x));
  return x * s;
}
/// As elementwise.def has it: bounded where the sigmoid is 0 or 1 and x^3 infinite.
TANDEM_DEVICE float gelu_gradient(float dy, float x) {
  const float s = sigmoid_(1.5957691216057308F * (x + 0.044715F * x * x * x));
  const float slope = x * 1.5957691216057308F * (1.0F + 0.134145F * x * x);
  return dy * (s * (1.0F + min_(max_(slope, -1e3F), 1e3F) * (1.0F - s)));
}

/// An element as float32 has it. What is split into two numbers loses infinities, which are NaN
/// less themselves and NaN times a zero, and the largest finite numbers.
template <bool trans_a, bool trans_b>
__device__ __noinline__ float plain_sum(const FloatMatrix& a, const FloatMatrix& b, int32_t k,
                                        int32_t row, int32_t column) {
  float sum = 0.0F;
  for (int64_t i = 0; i < k; ++i) {
    const float x = a.data[trans_a ? i * a.along + row : row * a.along + i];
    const float w = b.data[trans_b ? column * b.along + i : i * b.along + column];
    sum = fmaf(x, w, sum);
  }
  return sum;
}

/// `count` of four floats, neighbours in memory, all at once where `whole`.
TANDEM_DEVICE void read_four(float (&to)[4], const float* from, int32_t count, bool whole) {
  if (whole && count >= 4) {
    const float4 all = *reinterpret_cast<const float4*>(from);
    to[0] = all.x, to[1] = all.y, to[2] = all.z, to[3] = all.w;
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) to[i] = i < count ? from[i] : 0.0F;
}
TANDEM_DEVICE void write_four(float* to, const float (&from)[4], int32_t count, bool whole) {
  if (whole && count >= 4) {
    *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (i < count) to[i] = from[i];
  }
}

/// What follows the sums of `count` neighbours of a row, and writes them.
TANDEM_DEVICE void finish_four(const FloatProduct& p, float* y, float (&sums)[4], int32_t row,
                               int32_t column, int32_t count) {
  float* const saved = p.saved == nullptr ? nullptr : p.saved + int64_t{row} * p.n + column;
  if (p.bias != nullptr) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < count) sums[i] += p.bias[column + i];
    }
  }
  if (p.epilogue == ProductEpilogue::kGeluGradient) {
    float before[4];
    read_four(before, saved, count, p.whole_saved);
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[i] = gelu_gradient(sums[i], before[i]);
  } else if (p.epilogue == ProductEpilogue::kReluGradient) {
    float after[4];
    read_four(after, saved, count, p.whole_saved);
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[i] = 0.0F >= after[i] ? 0.0F : sums[i];
  } else if (p.epilogue == ProductEpilogue::kRelu) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[i] = max_(sums[i], 0.0F);
  } else if (p.epilogue != ProductEpilogue::kNone) {
    if (p.epilogue == ProductEpilogue::kGeluSaving) write_four(saved, sums, count, p.whole_saved);
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[i] = gelu(sums[i]);
  }
  write_four(y + row * p.y_along + column, sums, count, p.whole_y);
}

/// The sums of a block over its piece of the summands, to shared memory: those of each slice.
template <typename T, bool trans_a, bool trans_b>
TANDEM_DEVICE void multiply_tile(const FloatProduct& p, const FloatMatrix& a, const FloatMatrix& b,
                                 const TileOfY& tile, int rank) {
  using A = FloatStage<T::kSide, !trans_a>;
  using B = FloatStage<T::kSide, trans_b>;
  constexpr int kStage = A::kFloats + B::kFloats;
  float* const stages = dynamic_shared();
  const int32_t all = (p.k + kStageDepth - 1) / kStageDepth;
  const auto begin = static_cast<int32_t>(int64_t{all} * rank / p.splits);
  const auto end = static_cast<int32_t>(int64_t{all} * (rank + 1) / p.splits);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int slice = warp % T::kSlices;
  const int row = warp / T::kSlices / T::kWarpsAlong * kWarpSide;
  const int column = warp / T::kSlices % T::kWarpsAlong * kWarpSide;
  StageSource<A, T::kThreads> rows(a, tile.row, begin * kStageDepth);
  StageSource<B, T::kThreads> columns(b, tile.column, begin * kStageDepth);
  const auto fetch = [&](int32_t step) {
    if (step < end) {
      float* const to = stages + (step - begin) % kSmallStages * kStage;
      rows.copy(to);
      columns.copy(to + A::kFloats);
    }
    commit_copies();  // groups are counted, even those of nothing
  };
  WarpSums sums;
#pragma unroll
  for (int i = 0; i < kWarpSide / kTileRows; ++i) sums[i].clear();
#pragma unroll
  for (int i = 0; i + 1 < kSmallStages; ++i) fetch(begin + i);
#pragma unroll 1
  for (int32_t step = begin; step < end; ++step) {
    wait_copies<kSmallStages - 2>();
    __syncthreads();  // all have this stage, and are done with the one before it
    fetch(step + kSmallStages - 1);
    const float* const stage = stages + (step - begin) % kSmallStages * kStage;
    add_floats<A, B, T::kSliceDepth>(sums, stage + A::at(row, slice * T::kSliceDepth),
                                     stage + A::kFloats + B::at(column, slice * T::kSliceDepth));
  }
  wait_copies<0>();
  __syncthreads();  // the stages make room
  put_sums<T::kSumsAlong>(stages + slice * T::kSums + row * T::kSumsAlong + column, sums);
}

template <typename T, bool trans_a, bool trans_b>
TANDEM_DEVICE void compute(const FloatProduct& p) {
  const TileOfY tile = tile_of_y<T>(p);
  const int rank = p.splits == 1 ? 0 : cluster_rank();
  FloatMatrix a = p.a;
  FloatMatrix b = p.b;
  a.data += tile.batch * p.a_step;
  b.data += tile.batch * p.b_step;
  multiply_tile<T, trans_a, trans_b>(p, a, b, tile, rank);
  if (p.splits == 1) {
    __syncthreads();
  } else {
    sync_shared_of_cluster();
  }
  constexpr int kQuads = T::kSide / 4;
  const int rows = T::kSide / p.splits;
  float* const y = p.y + tile.batch * p.y_step;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < rows * kQuads; i += T::kThreads) {
    const int r = rank * rows + i / kQuads;
    const int c = i % kQuads * 4;
    const int32_t row = tile.row + r;
    const int32_t column = tile.column + c;
    if (row >= p.m || column >= p.n) continue;
    float sums[4] = {};
#pragma unroll 2
    for (int split = 0; split < p.splits; ++split) {
      const float* const own = dynamic_shared() + r * T::kSumsAlong + c;
      const float* const from = p.splits == 1 ? own : in_block(own, split);
#pragma unroll
      for (int slice = 0; slice < T::kSlices; ++slice) {
        const float4 more = *reinterpret_cast<const float4*>(from + slice * T::kSums);
        sums[0] += more.x, sums[1] += more.y, sums[2] += more.z, sums[3] += more.w;
      }
    }
    const int32_t count = p.n - column < 4 ? p.n - column : 4;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (e < count && !isfinite(sums[e]))
        sums[e] = plain_sum<trans_a, trans_b>(a, b, p.k, row, column + e);
    }
    finish_four(p, y, sums, row, column, count);
  }
  if (p.splits > 1) leave_cluster();  // others still read this block's shared memory
}

template <typename T, bool trans_a, bool trans_b>
__global__ void __launch_bounds__(T::kThreads, 1) float_product_kernel(FloatProduct p) {
  if (kHasTileInstructions) compute<T, trans_a, trans_b>(p);
}

using Kernel = void (*)(FloatProduct);

struct KernelOf {
  Kernel kernel;
  unsigned threads;
  int64_t shared;
};

template <typename T, bool trans_a, bool trans_b>
KernelOf kernel_of() {
  constexpr int kStages = kSmallStages * (FloatStage<T::kSide, !trans_a>::kFloats +
                                          FloatStage<T::kSide, trans_b>::kFloats);
  constexpr int kFloats = std::max(kStages, T::kSlices * T::kSums);
  return {float_product_kernel<T, trans_a, trans_b>, T::kThreads, int64_t{kFloats} * 4};
}

template <typename T>
KernelOf kernel_of(bool trans_a, bool trans_b) {
  if (trans_a) return trans_b ? kernel_of<T, true, true>() : kernel_of<T, true, false>();
  return trans_b ? kernel_of<T, false, true>() : kernel_of<T, false, false>();
}

KernelOf kernel_of(FloatTile tile, bool trans_a, bool trans_b) {
  if (tile == FloatTile::k32x32) return kernel_of<FloatBlock<32, 4>>(trans_a, trans_b);
  return kernel_of<FloatBlock<64, 2>>(trans_a, trans_b);
}

bool is_whole(const void* data, int64_t along, int64_t batch, int64_t step) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && along % 4 == 0 &&
         (batch == 1 || step % 4 == 0);
}

FloatMatrix matrix_of(const void* data, int64_t lines, int64_t width, int64_t along, int64_t batch,
                      int64_t step) {
  const int64_t apart = std::max(width, along);
  return {static_cast<const float*>(data), apart, static_cast<int32_t>(lines),
          static_cast<int32_t>(width), is_whole(data, apart, batch, step)};
}

FloatProduct describe(const Product& p, const ProductOperands& o, FloatWay way) {
  FloatProduct f{};
  f.a = matrix_of(o.a, p.trans_a ? p.k : p.m, p.trans_a ? p.m : p.k, p.a_row, p.batch, p.a_step);
  f.b = matrix_of(o.b, p.trans_b ? p.n : p.k, p.trans_b ? p.k : p.n, p.b_row, p.batch, p.b_step);
  f.a_step = p.a_step;
  f.b_step = p.b_step;
  f.y_step = p.y_step;
  f.y = static_cast<float*>(o.y);
  f.y_along = std::max(p.n, p.y_row);
  f.bias = p.bias ? o.bias : nullptr;
  f.saved = o.saved;
  f.m = static_cast<int32_t>(p.m);
  f.n = static_cast<int32_t>(p.n);
  f.k = static_cast<int32_t>(p.k);
  f.row_tiles = static_cast<int32_t>(ceil_div(p.m, tile_side(way.tile)));
  f.column_tiles = static_cast<int32_t>(ceil_div(p.n, tile_side(way.tile)));
  f.splits = way.splits;
  f.epilogue = p.epilogue;
  f.whole_y = is_whole(f.y, f.y_along, p.batch, p.y_step);
  f.whole_saved = is_whole(f.saved, p.n, 1, 0);
  return f;
}

}  // namespace

FloatDevice float_device(int device) {
  cudaFuncAttributes code{};
  const Kernel any = kernel_of(FloatTile::k32x32, false, false).kernel;
  if (cudaFuncGetAttributes(&code, any) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    const auto version = [device](cudaDeviceAttr part) {
      return std::to_string(device_attribute(device, part));
    };
    fail(ErrorCode::kDevice, "expected kernels for compute capability " +
                                 version(cudaDevAttrComputeCapabilityMajor) + "." +
                                 version(cudaDevAttrComputeCapabilityMinor) +
                                 ", received a library that was built without; build it with "
                                 "TANDEM_CUDA_ARCHITECTURES=release, or use device \"cpu\"");
  }
  constexpr int kMost = 8;  // blocks of a cluster that all devices have
  FloatDevice found;
  if (code.binaryVersion < 80) return found;
  check(cudaDeviceGetAttribute(&found.multiprocessors, cudaDevAttrMultiProcessorCount, device),
        "a question to a device");
  if (code.binaryVersion >= 90) found.most_splits = kMost;
  return found;
}

void launch_float_product(const Product& product, const ProductOperands& operands, FloatWay way,
                          cudaStream_t stream) {
  if (way.splits < 1) fail(ErrorCode::kDevice, "expected a way to multiply floats, received none");
  const FloatProduct p = describe(product, operands, way);
  const auto [kernel, threads, shared] = kernel_of(way.tile, product.trans_a, product.trans_b);
  allow_shared(reinterpret_cast<const void*>(kernel), shared);
  const auto splits = static_cast<unsigned>(way.splits);
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = splits;
  cluster.val.clusterDim.y = 1;
  cluster.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(checked_blocks(product.batch * p.row_tiles * p.column_tiles * splits));
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = static_cast<size_t>(shared);
  config.stream = stream;
  config.attrs = &cluster;
  config.numAttrs = splits > 1 ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, p), "the start of a kernel");
}

}  // namespace tandem::cuda
