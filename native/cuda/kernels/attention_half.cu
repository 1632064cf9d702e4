// attention in bfloat16 or float16, on tensor cores: what kernels/attention.cu computes, with tiles
// of 16-bit numbers in shared memory and exponentials that never leave registers: Dao,
// "FlashAttention-2" (2023). A block has 128 queries of a head, 32 to a warp, and goes through the
// keys 64 at a time. While it multiplies with keys, its next values are on their way to registers;
// while it multiplies with values, its next keys are. Heads of more than 64 numbers multiply 64 at
// a time, which are copied one after another; values of more than 128 are cut into blocks that
// compute the scores once each.
#include "cuda/device/attention_grad.cuh"
#include "cuda/device/fold.cuh"
#include "cuda/device/half_tiles.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

/// Turns scores into exponentials, and shrinks the sums so far to what these are relative to.
template <int tiles>
TANDEM_DEVICE void update(Scores& scores, RowState (&rows)[2], Accumulators<tiles>& sums) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    RowState& row = rows[half];
    float found = -INFINITY;
#pragma unroll
    for (int i = 0; i < kScoreTiles; ++i)
      found = fmaxf(found, fmaxf(scores.at[i][2 * half], scores.at[i][2 * half + 1]));
    found = row_largest(found);
    const float before = row.largest;
    row.largest = fmaxf(before, found);
    // where all are -infinity, any finite shift makes them zeros
    const float shift = row.largest == -INFINITY ? 0.0F : row.largest;
    const float factor = before == -INFINITY ? 0.0F : power_of_two((before - shift) * kLog2OfE);
    float more = 0.0F;
#pragma unroll
    for (int i = 0; i < kScoreTiles; ++i) {
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; ++e) {
        const float power = power_of_two((scores.at[i][e] - shift) * kLog2OfE);
        scores.at[i][e] = power;
        more += power;
      }
    }
    row.sum = row.sum * factor + row_sum(more);
#pragma unroll
    for (int i = 0; i < tiles; ++i) {
      sums.at[i][2 * half] *= factor;
      sums.at[i][2 * half + 1] *= factor;
    }
  }
}

struct Output {
  Result y;
  float2* log_sums;            // by query: the largest score, and the logarithm of the sum
  int64_t row_blocks, chunks;  // chunks: of a value's numbers
};

/// Whether the next keys are on their way while scores become exponentials, and values of more than
/// 64 numbers while queries are multiplied with keys: not where the compiler would spill what holds
/// them.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr bool kHoldsKeys = __CUDA_ARCH__ >= 1200;
constexpr bool kHoldsWideValues = __CUDA_ARCH__ < 1200;
#else
constexpr bool kHoldsKeys = true;
constexpr bool kHoldsWideValues = true;
#endif

/// `narrow`: heads of 64 numbers or fewer, that can be read 16 bytes at a time.
template <Arithmetic kind, int columns, bool narrow>
TANDEM_DEVICE void attend(const Attention& a, const Output& out) {
  constexpr int kRows = half_attention_rows(columns);
  constexpr int kRowTiles = kRows / kAttentionRows;
  constexpr int kTiles = columns / kTileColumns;
  auto* const queries = reinterpret_cast<uint16_t*>(dynamic_shared());
  uint16_t* const keys = queries + kRows * kHalfStride;
  uint16_t* const values = keys + kAttentionRows * kHalfStride;
  const AttentionLayout& p = a.layout;
  const int64_t chunk = blockIdx.x % out.chunks;
  // those that see most begin first
  const int64_t block = out.row_blocks - 1 - blockIdx.x / out.chunks % out.row_blocks;
  const int64_t matrix = blockIdx.x / out.chunks / out.row_blocks;
  const int64_t query = block * kRows;
  const HeadRows q = head_rows(a.q, p.q, matrix, p.heads, p.time, p.depth);
  const HeadRows k = head_rows(a.k, p.k, matrix, p.heads, p.keys, p.depth);
  const HeadRows v = head_rows(a.v, p.v, matrix, p.heads, p.keys, p.value_depth);
  const float* const mask = head_mask(a, matrix);
  const int row = static_cast<int>(threadIdx.x / 32) * kRowTiles * kTileRows;
  const uint16_t* const own_queries = queries + row * kHalfStride;
  const int64_t own = query + row;
  RowState rows[kRowTiles][2];
  Accumulators<kTiles> sums[kRowTiles];
#pragma unroll
  for (int r = 0; r < kRowTiles; ++r) sums[r].clear();
  const int64_t end = a.causal && query + kRows < p.keys ? query + kRows : p.keys;
  HeldHalf<kAttentionDepth> next_keys;
  HeldHalf<columns> next_values;
  if constexpr (narrow) {
    copy_tile<kind, kRows, kAttentionDepth>(queries, q, query, 0, true);
    copy_tile<kind, kAttentionRows, kAttentionDepth>(keys, k, 0, 0, true);
    __syncthreads();
  }
  for (int64_t key = 0; key < end; key += kAttentionRows) {
    // whether any query of this warp sees any of these keys
    const bool sees = !a.causal || key < own + kRowTiles * kTileRows;
    Scores scores[kRowTiles];
#pragma unroll
    for (int r = 0; r < kRowTiles; ++r) scores[r].clear();
    if constexpr (narrow) {
      constexpr bool kHoldsValues = kHoldsWideValues || columns <= kAttentionDepth;
      if (!kHoldsValues && sees) add_along<kind>(scores, own_queries, keys);
      next_values.fetch_half(v, key, 0, chunk * columns);
      if (kHoldsValues && sees) add_along<kind, 0, kSteps / 2>(scores, own_queries, keys);
      next_values.template put_half<kind>(values, 0);
      next_values.fetch_half(v, key, 1, chunk * columns);
      if (kHoldsValues && sees) add_along<kind, kSteps / 2, kSteps>(scores, own_queries, keys);
      next_values.template put_half<kind>(values, 1);
    } else {
      for (int64_t column = 0; column < p.depth; column += kAttentionDepth) {
        __syncthreads();
        copy_tile<kind, kRows, kAttentionDepth>(queries, q, query, column, a.whole_quads);
        copy_tile<kind, kAttentionRows, kAttentionDepth>(keys, k, key, column, a.whole_quads);
        __syncthreads();
        if (sees) add_along<kind>(scores, own_queries, keys);
      }
      copy_tile<kind, kAttentionRows, columns>(values, v, key, chunk * columns, a.whole_quads);
    }
    __syncthreads();
    const int64_t next = key + kAttentionRows;
    const bool more = narrow && next < end;
    if (kHoldsKeys && more) next_keys.fetch_half(k, next, 0, 0);
    if (sees) {
#pragma unroll
      for (int r = 0; r < kRowTiles; ++r) {
        const Sight<false> sight(a, mask, own + r * kTileRows, key);
        if (sight.is_plain()) {
          scale_all(a, scores[r]);
        } else {
          see(a, sight, scores[r]);
        }
        update(scores[r], rows[r], sums[r]);
      }
    }
    if (more) {
      if (!kHoldsKeys) next_keys.fetch_half(k, next, 0, 0);
      next_keys.template put_half<kind>(keys, 0);
      next_keys.fetch_half(k, next, 1, 0);
    }
    if (sees) add_across<kind>(sums, scores, values);
    if (more) next_keys.template put_half<kind>(keys, 1);
    __syncthreads();
  }
  float2* const log_sums = chunk == 0 ? out.log_sums + matrix * p.time : nullptr;
  const HeadResult y(out.y, p.y, matrix, p.heads, p.time, p.value_depth);
#pragma unroll
  for (int r = 0; r < kRowTiles; ++r) {
    const int64_t first = own + r * kTileRows;
    end_rows(sums[r], rows[r], log_sums, first, p.time);
    write_rows(sums[r], 1.0F, y, first, chunk * columns, narrow || a.whole_quads);
  }
}

template <Arithmetic kind, int columns, bool narrow>
__global__ void __launch_bounds__(kAttentionThreads)
    half_attention_kernel(Attention a, Output out) {
  if (kHasTileInstructions) attend<kind, columns, narrow>(a, out);
}

template <Arithmetic kind, int columns>
void launch_columns(Launch& launch, const Attention& a) {
  const AttentionLayout& p = a.layout;
  const Output out{launch.result(), reinterpret_cast<float2*>(launch.out(1)),
                   ceil_div(p.time, half_attention_rows(columns)),
                   ceil_div(p.value_depth, columns)};
  const bool narrow = p.depth <= kAttentionDepth && a.whole_quads;
  const auto kernel = narrow ? half_attention_kernel<kind, columns, true>
                             : half_attention_kernel<kind, columns, false>;
  launch.kernel_with_shared(kernel, p.batch * p.heads * out.row_blocks * out.chunks,
                            kAttentionThreads, half_attention_shared_bytes(columns), a, out);
}

template <Arithmetic kind>
void launch_kind(Launch& launch, const Attention& a) {
  if (a.layout.value_depth <= 64) {
    launch_columns<kind, 64>(launch, a);
  } else {
    launch_columns<kind, 128>(launch, a);
  }
}

}  // namespace

void launch_half_attention(Launch& launch, const Attention& a, bool float16) {
  if (float16) {
    launch_kind<Arithmetic::kFloat16>(launch, a);
  } else {
    launch_kind<Arithmetic::kBfloat16>(launch, a);
  }
}

}  // namespace tandem::cuda
