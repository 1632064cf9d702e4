// quantizedAttention: attention whose products are of bytes. One kernel makes signed bytes of keys
// by the ranges of their rows, another of values by those of their columns, which become rows. Then
// a block takes 64 queries of a head, 16 to a warp, as bytes by the ranges of their rows, and goes
// through the keys twice, 64 at a time: for the largest score of each row, and again for the
// probabilities, bytes in steps of 1 / 255 of the row's largest, whose sum divides the result. The
// bytes depend on the largest score of all, so that one pass with a softmax that is kept up to date
// would round differently.
#include "core/ops/quantized.h"

#include "cuda/device/attention.cuh"
#include "cuda/device/attention_grad.cuh"
#include "cuda/device/byte_mma.cuh"
#include "cuda/device/byte_rows.cuh"
#include "cuda/device/launch_bounds.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 128;
/// Of attention on a multiprocessor: 128 registers a thread are enough on compute capability 9.0,
/// and not on others, where the compiler would spill rather than do with fewer blocks.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900
constexpr unsigned kLeastBlocks = 4;
#else
constexpr unsigned kLeastBlocks = 1;
#endif
constexpr int kWarps = 4;
constexpr int kSide = 64;           // rows and columns of a tile in shared memory, in bytes
constexpr int kAlong = kSide + 16;  // bytes between its rows
constexpr int kTileBytes = kSide * kAlong;
constexpr int kTiles = kSide / 8;

/// Operands as bytes; rows are filled up to whole tiles with zeros.
struct ByteHeads {
  Attention a;
  int64_t depth_along, keys_along;  ///< bytes of a row of keys, and of one of values
  int8_t* keys;                     ///< [heads, keys, depth_along]
  float* key_scales;                ///< [heads, keys], times the scale of attention
  int32_t* key_sums;                ///< [heads, keys]
  int8_t* values;                   ///< [heads, value depth, keys_along]
  float* value_scales;              ///< [heads, value depth]
  float* y;
  int64_t row_blocks, chunks;
};

/// A warp has a key.
__global__ void __launch_bounds__(kThreads) keys_kernel(const __grid_constant__ ByteHeads h) {
  const AttentionLayout& p = h.a.layout;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (at >= p.batch * p.heads * p.keys) return;
  const int64_t matrix = at / p.keys;
  const HeadRows k = head_rows(h.a.k, p.k, matrix, p.heads, p.keys, p.depth);
  const float* const row = k.data + (at - matrix * p.keys) * k.stride;
  const float scale = signed_steps(extent_of_row(row, p.depth));
  int32_t sum = 0;
  for (int64_t i = threadIdx.x % 32; i < h.depth_along; i += 32) {
    const int8_t byte = i < p.depth ? to_signed_byte(row[i], scale) : int8_t{0};
    h.keys[at * h.depth_along + i] = byte;
    sum += byte;
  }
  sum = fold_warp(sum, Add{});
  if (threadIdx.x % 32 > 0) return;
  h.key_scales[at] = scale * h.a.scale;
  h.key_sums[at] = sum;
}

/// A thread has a column of values.
__global__ void TANDEM_LAUNCH_BOUNDS(kThreads) values_kernel(const __grid_constant__ ByteHeads h) {
  const AttentionLayout& p = h.a.layout;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= p.batch * p.heads * p.value_depth) return;
  const int64_t matrix = at / p.value_depth;
  const HeadRows v = head_rows(h.a.v, p.v, matrix, p.heads, p.keys, p.value_depth);
  const float* const column = v.data + (at - matrix * p.value_depth);
  float most = 0.0F;
  for (int64_t i = 0; i < p.keys; ++i) most = fmaxf(most, fabsf(column[i * v.stride]));
  const float scale = scale_of(most, 127.0F);
  h.value_scales[at] = scale;
  auto* const words = reinterpret_cast<uint32_t*>(h.values + at * h.keys_along);
  for (int64_t first = 0; first < h.keys_along; first += 4) {
    uint32_t four = 0;
    for (int64_t i = first; i < first + 4 && i < p.keys; ++i) {
      const auto byte = static_cast<uint8_t>(to_weight_byte(column[i * v.stride], scale));
      four |= static_cast<uint32_t>(byte) << (8 * (i - first));
    }
    words[first / 4] = four;
  }
}

/// Copies a tile: `rows` rows from `from` on, zeros below them.
TANDEM_DEVICE void load_bytes(uint8_t* tile, const int8_t* from, int64_t along, int64_t rows) {
  for (int i = static_cast<int>(threadIdx.x); i < kSide * kSide / 16; i += kThreads) {
    const int row = i / (kSide / 16);
    const int column = i % (kSide / 16) * 16;
    uint4 bytes = make_uint4(0, 0, 0, 0);
    if (row < rows) bytes = *reinterpret_cast<const uint4*>(from + row * along + column);
    *reinterpret_cast<uint4*>(tile + row * kAlong + column) = bytes;
  }
}

/// A lane's sums of its warp's 16 rows with a tile's columns.
struct TileSums {
  int32_t at[kTiles][4];

  TANDEM_DEVICE void clear() {
#pragma unroll
    for (auto& tile : at) tile[0] = tile[1] = tile[2] = tile[3] = 0;
  }
  /// Adds `rows` (the warp's) times the rows of `columns`, over the bytes of a tile.
  TANDEM_DEVICE void add(const uint8_t* rows, const uint8_t* columns) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    rows += lane % 16 * kAlong + lane / 16 * 16;
    columns += (lane / 16 * 8 + lane % 8) * kAlong + lane / 8 % 2 * 16;
#pragma unroll
    for (int k = 0; k < kSide; k += 32) {
      uint32_t left[4];
      load_pieces(left, rows + k);
#pragma unroll
      for (int j = 0; j < kTiles; j += 2) {
        uint32_t right[4];
        load_pieces(right, columns + j * 8 * kAlong + k);
        mma_bytes(at[j], left, right);
        mma_bytes(at[j + 1], left, right + 2);
      }
    }
  }
};

/// The queries of a block: bytes in shared memory, a tile for each 64 numbers of a head.
struct Queries {
  uint8_t* tiles;
  float* scales;
  int32_t* zeros;

  /// Each warp makes its own rows.
  TANDEM_DEVICE void make(const HeadRows& q, int64_t first, int64_t along) const {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (int r = warp * kTileRows; r < (warp + 1) * kTileRows; ++r) {
      const bool there = first + r < q.rows;
      const float* const row = q.data + (there ? first + r : 0) * q.stride;
      const RowSteps steps = unsigned_steps(extent_of_row(row, q.columns));
      for (int64_t i = lane; i < along; i += 32) {
        tiles[i / kSide * kTileBytes + r * kAlong + i % kSide] =
            i < q.columns ? to_unsigned_byte(row[i], steps.scale, steps.zero) : uint8_t{0};
      }
      if (lane > 0) continue;
      scales[r] = steps.scale;
      zeros[r] = steps.zero;
    }
  }
};

/// A block's place.
struct BlockPlace {
  int64_t matrix, query, column;
  int own;  ///< this warp's first row within the block
};

/// Scores of the block's queries with the keys from `key` on; -infinity where a query sees none.
TANDEM_DEVICE void score_tile(Scores& scores, const ByteHeads& h, const Queries& q, uint8_t* tile,
                              const BlockPlace& at, int64_t key) {
  const AttentionLayout& p = h.a.layout;
  const int64_t row = at.matrix * p.keys + key;
  TileSums sums;
  sums.clear();
  for (int64_t slice = 0; slice * kSide < h.depth_along; ++slice) {
    __syncthreads();  // what was here before has been read
    load_bytes(tile, h.keys + row * h.depth_along + slice * kSide, h.depth_along, p.keys - key);
    __syncthreads();
    sums.add(q.tiles + slice * kTileBytes + at.own * kAlong, tile);
  }
#pragma unroll
  for (int i = 0; i < kTiles; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int r = at.own + row_of_element(e);
      const int64_t c = column_of_element(i, e);
      const bool seen = key + c < p.keys && (!h.a.causal || key + c <= at.query + r);
      float score = -INFINITY;
      if (seen) {
        const int32_t exact = sums.at[i][e] - q.zeros[r] * h.key_sums[row + c];
        score = static_cast<float>(exact) * (h.key_scales[row + c] * q.scales[r]);
      }
      scores.at[i][e] = score;
    }
  }
}

/// The largest of the four lanes of a row.
TANDEM_DEVICE float largest_of_row(float x) {
  x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, 1));
  return fmaxf(x, __shfl_xor_sync(kAllLanes, x, 2));
}
TANDEM_DEVICE int32_t sum_of_row(int32_t x) {
  x += __shfl_xor_sync(kAllLanes, x, 1);
  return x + __shfl_xor_sync(kAllLanes, x, 2);
}

/// Bytes of probabilities to the warp's rows of a tile; adds them up by row.
TANDEM_DEVICE void store_probabilities(uint8_t* tile, const Scores& scores,
                                       const float (&largest)[2], int own, int32_t (&sums)[2]) {
#pragma unroll
  for (int i = 0; i < kTiles; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float power = expf(scores.at[i][e] - largest[e / 2]);
      const uint8_t byte = to_unsigned_byte(power, 1.0F / 255.0F, 0);
      tile[(own + row_of_element(e)) * kAlong + column_of_element(i, e)] = byte;
      sums[e / 2] += byte;
    }
  }
}

__global__ void __launch_bounds__(kThreads, kLeastBlocks)
    attend_kernel(const __grid_constant__ ByteHeads h) {
  __shared__ float scales[kSide];
  __shared__ int32_t zeros[kSide];
  const AttentionLayout& p = h.a.layout;
  auto* const keys = reinterpret_cast<uint8_t*>(dynamic_shared());
  uint8_t* const values = keys + kTileBytes;
  uint8_t* const bytes = values + kTileBytes;
  const Queries queries{bytes + kTileBytes, scales, zeros};
  const BlockPlace at = {
      blockIdx.x / h.chunks / h.row_blocks, blockIdx.x / h.chunks % h.row_blocks * kSide,
      blockIdx.x % h.chunks * kSide, static_cast<int>(threadIdx.x / 32) * kTileRows};
  queries.make(head_rows(h.a.q, p.q, at.matrix, p.heads, p.time, p.depth), at.query, h.depth_along);
  __syncwarp();
  const int64_t end = h.a.causal && at.query + kSide < p.keys ? at.query + kSide : p.keys;
  float largest[2] = {-INFINITY, -INFINITY};
  for (int64_t key = 0; key < end; key += kSide) {
    Scores scores;
    score_tile(scores, h, queries, keys, at, key);
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e) largest[e / 2] = fmaxf(largest[e / 2], scores.at[i][e]);
    }
  }
  largest[0] = largest_of_row(largest[0]);
  largest[1] = largest_of_row(largest[1]);
  TileSums sums;
  sums.clear();
  int32_t weights[2] = {0, 0};
  const int64_t first_value = at.matrix * p.value_depth + at.column;
  for (int64_t key = 0; key < end; key += kSide) {
    __syncthreads();  // the values before have been read
    load_bytes(values, h.values + first_value * h.keys_along + key, h.keys_along,
               p.value_depth - at.column);
    Scores scores;
    score_tile(scores, h, queries, keys, at, key);
    store_probabilities(bytes, scores, largest, at.own, weights);
    __syncwarp();
    sums.add(bytes + at.own * kAlong, values);
    __syncwarp();
  }
  const HeadRows y = head_rows(h.y, p.y, at.matrix, p.heads, p.time, p.value_depth);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int32_t weight = sum_of_row(weights[half]);
    const float factor = 1.0F / static_cast<float>(weight > 0 ? weight : 1);
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; ++e) {
        const int64_t r = at.query + at.own + row_of_element(e);
        const int64_t c = at.column + column_of_element(i, e);
        if (r >= p.time || c >= p.value_depth) continue;
        const float scale = h.value_scales[at.matrix * p.value_depth + c] * factor;
        const_cast<float*>(y.data)[r * y.stride + c] = static_cast<float>(sums.at[i][e]) * scale;
      }
    }
  }
}

}  // namespace

void launch_quantizedAttention(Launch& launch) {
  if (launch.output().numel == 0) return;
  if (launch.has_input(3))
    fail(ErrorCode::kDevice, "expected no mask for `attention` of bytes on a GPU, received one");
  ByteHeads h{};
  h.a = attention_of(launch);
  const AttentionLayout& p = h.a.layout;
  const int64_t heads = p.batch * p.heads;
  h.depth_along = ceil_div(p.depth, kSide) * kSide;
  h.keys_along = ceil_div(p.keys, kSide) * kSide;
  h.keys = launch.workspace<int8_t>(heads * p.keys * h.depth_along);
  h.key_scales = launch.workspace<float>(heads * p.keys);
  h.key_sums = launch.workspace<int32_t>(heads * p.keys);
  h.values = launch.workspace<int8_t>(heads * p.value_depth * h.keys_along);
  h.value_scales = launch.workspace<float>(heads * p.value_depth);
  h.y = launch.out();
  h.row_blocks = ceil_div(p.time, kSide);
  h.chunks = ceil_div(p.value_depth, kSide);
  launch.kernel(keys_kernel, ceil_div(heads * p.keys, kWarps), kThreads, h);
  launch.kernel(values_kernel, ceil_div(heads * p.value_depth, kThreads), kThreads, h);
  launch.kernel_with_shared(attend_kernel, heads * h.row_blocks * h.chunks, kThreads,
                            (3 + h.depth_along / kSide) * kTileBytes, h);
}

}  // namespace tandem::cuda
