// cachedAttention: one kernel writes the keys and values of all rows into the cache, another has a
// block for a head of a row. Its warps share the entries, a key to a warp at a time, and each keeps
// the softmax of its own up to date: Milakov and Gimelshein, "Online normalizer calculation for
// softmax" (2018). At the end the block joins what its warps found, in their order.
#include "core/ops/cached_attention.h"

#include "cuda/device/online_softmax.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int kWarps = 8;
constexpr int kNumbers = 4;            // of a head, that a lane has at a time
constexpr int kChunk = 32 * kNumbers;  // of a head, that a block weighs at a time

struct Cached {
  int64_t rows, heads, depth, slots, length, chunks;
  float scale;
  const float* qkv;
  float* cache;
  const int32_t *slot, *position;
  float* y;
};

/// Where the entries of a row's slot begin, or null where its own is not in the cache.
TANDEM_DEVICE float* slot_of(const Cached& p, int64_t row) {
  const int64_t slot = p.slot[row];
  const int64_t position = p.position[row];
  if (slot < 0 || slot >= p.slots || position < 0 || position >= p.length) return nullptr;
  return p.cache + slot * p.length * 2 * p.heads * p.depth;
}

/// A thread has a number of a row's keys or values.
__global__ void __launch_bounds__(kThreads) append_kernel(Cached p) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t width = p.heads * p.depth;
  const int64_t row = i / (2 * width);
  if (row >= p.rows) return;
  float* const slot = slot_of(p, row);
  if (slot == nullptr) return;
  const int64_t at = i - row * 2 * width;
  const int64_t part = at / width;
  const int64_t head = (at - part * width) / p.depth;
  const int64_t number = at - part * width - head * p.depth;
  slot[((head * 2 + part) * p.length + p.position[row]) * p.depth + number] =
      p.qkv[row * 3 * width + width + at];
}

/// q . key, by a warp; every lane gets it.
TANDEM_DEVICE float score_of(const Cached& p, const float* q, const float* key, int lane) {
  float sum = 0.0F;
  for (int64_t i = lane; i < p.depth; i += 32) sum = fmaf(q[i], key[i], sum);
  return p.scale * fold_warp(sum, Add{});
}

/// What a warp has of the entries so far.
struct Weighed {
  OnlineSum total;
  float sums[kNumbers] = {};

  TANDEM_DEVICE void add(float score, const float* value, int64_t depth, int64_t first) {
    const float most = Largest{}(score, total.largest);
    const float shrink = OnlineSum::power(total.largest, most);
    const float weight = OnlineSum::power(score, most);
    total.largest = most;
    total.sum = total.sum * shrink + weight;
#pragma unroll
    for (int n = 0; n < kNumbers; ++n) {
      const int64_t column = first + 32 * n;
      const float v = column < depth ? value[column] : 0.0F;
      sums[n] = fmaf(weight, v, sums[n] * shrink);
    }
  }
};

/// A block has kChunk numbers of a head of a row.
__global__ void __launch_bounds__(kThreads) attend_kernel(Cached p) {
  __shared__ float sums[kWarps * kChunk];
  __shared__ float largest[kWarps];
  __shared__ float parts[kWarps];
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t chunk = blockIdx.x % p.chunks * kChunk;
  const int64_t head = blockIdx.x / p.chunks % p.heads;
  const int64_t row = blockIdx.x / p.chunks / p.heads;
  const int64_t width = p.heads * p.depth;
  const float* const slot = slot_of(p, row);
  const float* const q = p.qkv + row * 3 * width + head * p.depth;
  Weighed mine;
  if (slot != nullptr) {
    const float* const keys = slot + head * 2 * p.length * p.depth;
    const float* const values = keys + p.length * p.depth;
    for (int64_t j = warp; j <= p.position[row]; j += kWarps) {
      const float score = score_of(p, q, keys + j * p.depth, lane);
      mine.add(score, values + j * p.depth, p.depth, chunk + lane);
    }
  }
#pragma unroll
  for (int n = 0; n < kNumbers; ++n) sums[warp * kChunk + 32 * n + lane] = mine.sums[n];
  if (lane == 0) {
    largest[warp] = mine.total.largest;
    parts[warp] = mine.total.sum;
  }
  __syncthreads();
  const int own = static_cast<int>(threadIdx.x);
  if (own >= kChunk || chunk + own >= p.depth) return;
  OnlineSum total;
  for (int w = 0; w < kWarps; ++w) {
    OnlineSum of_warp;
    of_warp.largest = largest[w];
    of_warp.sum = parts[w];
    total = total.joined(of_warp);
  }
  float sum = 0.0F;
  for (int w = 0; w < kWarps; ++w)
    sum = fmaf(sums[w * kChunk + own], OnlineSum::power(largest[w], total.largest), sum);
  p.y[row * width + head * p.depth + chunk + own] = slot == nullptr ? 0.0F : sum / total.sum;
}

}  // namespace

void launch_cachedAttention(Launch& launch) {
  const Tensor& qkv = launch.input(0);
  const Tensor& cache = launch.input(1);
  if (qkv.numel == 0) return;
  Cached p{};
  p.rows = qkv.dims[0];
  p.heads = launch.attributes<ops::CachedAttention::Attributes>().heads;
  p.depth = qkv.dims[2] / 3 / p.heads;
  p.slots = cache.dims[0];
  p.length = cache.dims[1];
  p.chunks = ceil_div(p.depth, kChunk);
  p.scale = static_cast<float>(1.0 / sqrt(static_cast<double>(p.depth)));
  p.qkv = launch.in(0);
  p.cache = launch.in(1);
  p.slot = launch.in<int32_t>(2);
  p.position = launch.in<int32_t>(3);
  p.y = launch.out();
  launch.kernel(append_kernel, ceil_div(p.rows * 2 * p.heads * p.depth, kThreads), kThreads, p);
  launch.kernel(attend_kernel, p.rows * p.heads * p.chunks, kThreads, p);
}

}  // namespace tandem::cuda
