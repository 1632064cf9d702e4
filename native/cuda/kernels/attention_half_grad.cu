// attentionGrad in bfloat16 or float16, on tensor cores: what kernels/attention_grad.cu computes,
// in the same passes, with tiles of 16-bit numbers in shared memory: Dao, "FlashAttention-2"
// (2023). A block has 64 rows of a head, 16 to a warp, and goes through those that they meet, 64 at
// a time:
//   queries through keys:  dq += dS k, from S = q k^T and dP = dy v^T
//   keys through queries:  dk += dS^T q and dv += P^T dy, from S^T = k q^T and dP^T = v dy^T
// Either way the block's own rows are the left factor of both products, P and dS stay in the
// registers that their sums were in, and the rows that are the columns of the scores are read once
// more, transposed. While a block multiplies, the next rows are on their way to the other of two
// pairs of tiles. Heads of more than 64 numbers multiply 64 at a time, which are copied one after
// another, and take several blocks, each of which computes the scores again.
#include "cuda/device/attention_grad.cuh"
#include "cuda/device/half_tiles.cuh"
#include "cuda/device/query_states.cuh"
#include "cuda/device/shared.cuh"

namespace tandem::cuda {
namespace {

constexpr int kTile = kAttentionRows * kHalfStride;
constexpr int kTiles = kAttentionDepth / kTileColumns;

/// Turns products of queries and keys into probabilities, and those of dy and values into the
/// gradients of scores. Rows are the queries `own`, above and below, or columns are `all`. `plain`:
/// all are seen.
template <bool plain, bool transposed>
TANDEM_DEVICE void grade_all(const Attention& a, Sight<transposed> sight, Scores& scores,
                             Scores& gradients, const QueryState (&own)[2],
                             const QueryStates& all) {
#pragma unroll
  for (int i = 0; i < kScoreTiles; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const QueryState query = transposed ? all.at(column_of_element(i, e)) : own[e / 2];
      float& product = scores.at[i][e];
      float& gradient = gradients.at[i][e];
      const float score = plain ? __fmul_rn(product, a.scale) : sight.score(a, product, i, e);
      const float power = fmaf(score - query.largest, kLog2OfE, -query.log_sum);
      const bool seen = plain || score != -INFINITY;
      product = seen ? power_of_two(power > 0.0F ? 0.0F : power) : 0.0F;
      gradient = seen ? product * (gradient - query.delta) : 0.0F;
    }
    if (!plain) sight.next_tile(a);
  }
}

/// The operands as a block has them: the rows it owns, and those it goes through; `first` is what
/// scores are made of, `second` what the gradients of probabilities are.
struct Sides {
  HeadRows own_first, own_second, met_first, met_second;
};
template <bool transposed>
TANDEM_DEVICE Sides sides_of(const GradientHead& h) {
  if (transposed) return {h.k, h.v, h.q, h.dy};
  return {h.q, h.dy, h.k, h.v};
}

/// product = own met^T over all numbers of a head, by way of a tile of each.
template <Arithmetic kind>
TANDEM_DEVICE void multiply_wide(Scores (&product)[1], uint16_t* own_tile, uint16_t* met_tile,
                                 const HeadRows& own, int64_t own_row, const HeadRows& met,
                                 int64_t met_row, int warp_row, bool whole_quads) {
  for (int64_t column = 0; column < own.columns; column += kAttentionDepth) {
    __syncthreads();
    copy_tile<kind, kAttentionRows, kAttentionDepth>(own_tile, own, own_row, column, whole_quads);
    copy_tile<kind, kAttentionRows, kAttentionDepth>(met_tile, met, met_row, column, whole_quads);
    __syncthreads();
    add_along<kind>(product, own_tile + warp_row * kHalfStride, met_tile);
  }
}

/// sums += scores met, of 64 columns from `column` on, by way of a tile.
template <Arithmetic kind>
TANDEM_DEVICE void add_wide(Accumulators<kTiles> (&sums)[1], const Scores (&scores)[1],
                            uint16_t* tile, const HeadRows& met, int64_t row, int64_t column,
                            bool whole_quads) {
  if (column >= met.columns) return;
  __syncthreads();
  copy_tile<kind, kAttentionRows, kAttentionDepth>(tile, met, row, column, whole_quads);
  __syncthreads();
  add_across<kind>(sums, scores, tile);
}

/// A block's part: queries of dq, or keys of dk and dv when `transposed`; `chunks`: of 64 numbers
/// of a gradient. `narrow`: heads of 64 numbers or fewer.
template <Arithmetic kind, bool transposed, bool narrow>
TANDEM_DEVICE void differentiate(const AttentionGradient& g, int64_t chunks) {
  auto* const own_first = reinterpret_cast<uint16_t*>(dynamic_shared());
  uint16_t* const own_second = own_first + kTile;
  uint16_t* const met = own_second + kTile;                              // two pairs of tiles
  auto* const states = reinterpret_cast<QueryStates*>(met + 4 * kTile);  // two
  const Attention& a = g.forward;
  const AttentionLayout& p = a.layout;
  const int64_t rows = transposed ? p.keys : p.time;
  const int64_t blocks = blocks_of(rows);
  const int64_t place = blockIdx.x / chunks % blocks;
  // those that meet most begin first
  const int64_t row = (transposed ? place : blocks - 1 - place) * kAttentionRows;
  const int64_t matrix = blockIdx.x / chunks / blocks;
  const int64_t column = blockIdx.x % chunks * kAttentionDepth;
  const GradientHead h = gradient_head(g, matrix);
  const Sides sides = sides_of<transposed>(h);
  const int warp_row = static_cast<int>(threadIdx.x / 32) * kTileRows;
  // no query before a block's first key sees any of it, nor a query any key after it
  const int64_t begin = transposed && a.causal ? row : 0;
  const int64_t last = transposed ? p.time : p.keys;
  const int64_t end =
      !transposed && a.causal && row + kAttentionRows < last ? row + kAttentionRows : last;
  Accumulators<kTiles> d_first[1];
  Accumulators<kTiles> d_second[1];
  d_first[0].clear();
  d_second[0].clear();
  QueryState own_states[2];
  QueryState next_state;
  if constexpr (!transposed) {
    for (int half = 0; half < 2; ++half)
      own_states[half].fetch(h, row + warp_row + row_of_element(2 * half));
  }
  const auto put_state = [&](QueryStates& to) {
    if (threadIdx.x < kAttentionRows) to.put(static_cast<int>(threadIdx.x), next_state);
  };
  const auto fetch_state = [&](int64_t query) {
    if constexpr (transposed) {
      if (threadIdx.x < kAttentionRows) next_state.fetch(h, query + threadIdx.x);
    }
  };
  const auto copy = [&](uint16_t* to, const HeadRows& from, int64_t at) {
    copy_tile<kind, kAttentionRows, kAttentionDepth>(to, from, at, 0, true);
  };
  if (narrow && begin < end) {
    fetch_state(begin);
    copy(own_first, sides.own_first, row);
    copy(own_second, sides.own_second, row);
    copy(met, sides.met_first, begin);
    copy(met + kTile, sides.met_second, begin);
    if constexpr (transposed) put_state(states[0]);
    __syncthreads();
  }
  int buffer = 0;
  for (int64_t at = begin; at < end; at += kAttentionRows) {
    Scores scores[1];
    Scores gradients[1];
    scores[0].clear();
    gradients[0].clear();
    uint16_t* const first = met + buffer * 2 * kTile;
    uint16_t* const second = first + kTile;
    const int64_t next = at + kAttentionRows;
    const bool more = narrow && next < end;
    uint16_t* const next_first = met + (1 - buffer) * 2 * kTile;
    uint16_t* const next_second = next_first + kTile;
    HeldHalf<kAttentionDepth> held;
    const auto fetch = [&](const HeadRows& from, int half) {
      if (more) held.fetch_half(from, next, half, 0);
    };
    const auto put = [&](uint16_t* tile, int half) {
      if (more) held.template put_half<kind>(tile, half);
    };
    if constexpr (narrow) {
      if (more) fetch_state(next);
      fetch(sides.met_first, 0);
      add_along<kind>(scores, own_first + warp_row * kHalfStride, first);
      put(next_first, 0);
      if (transposed && more) put_state(states[1 - buffer]);
      fetch(sides.met_first, 1);
      add_along<kind>(gradients, own_second + warp_row * kHalfStride, second);
      put(next_first, 1);
      fetch(sides.met_second, 0);
    } else {
      fetch_state(at);
      __syncthreads();  // the states before are still being read
      if constexpr (transposed) put_state(states[0]);
      multiply_wide<kind>(scores, own_first, first, sides.own_first, row, sides.met_first, at,
                          warp_row, a.whole_quads);
      multiply_wide<kind>(gradients, own_second, second, sides.own_second, row, sides.met_second,
                          at, warp_row, a.whole_quads);
    }
    const Sight<transposed> sight(a, h.mask, transposed ? at : row + warp_row,
                                  transposed ? row + warp_row : at);
    if (sight.is_plain()) {
      grade_all<true>(a, sight, scores[0], gradients[0], own_states, states[buffer]);
    } else {
      grade_all<false>(a, sight, scores[0], gradients[0], own_states, states[buffer]);
    }
    if constexpr (narrow) {
      put(next_second, 0);
      fetch(sides.met_second, 1);
      if constexpr (transposed) add_across<kind>(d_second, scores, second);
      add_across<kind>(d_first, gradients, first);
      put(next_second, 1);
      __syncthreads();
      buffer = 1 - buffer;
    } else {
      if constexpr (transposed)
        add_wide<kind>(d_second, scores, second, sides.met_second, at, column, a.whole_quads);
      add_wide<kind>(d_first, gradients, first, sides.met_first, at, column, a.whole_quads);
    }
  }
  const int64_t own_row = row + warp_row;
  const bool whole = narrow || a.whole_quads;
  if constexpr (transposed) {
    const HeadResult dk(g.dk, p.k, matrix, p.heads, p.keys, p.depth);
    const HeadResult dv(g.dv, p.v, matrix, p.heads, p.keys, p.value_depth);
    write_rows(d_first[0], a.scale, dk, own_row, column, whole);
    write_rows(d_second[0], 1.0F, dv, own_row, column, whole);
  } else {
    const HeadResult dq(g.dq, p.q, matrix, p.heads, p.time, p.depth);
    write_rows(d_first[0], a.scale, dq, own_row, column, whole);
  }
}

template <Arithmetic kind, bool transposed, bool narrow>
__global__ void __launch_bounds__(kAttentionThreads)
    half_gradient_kernel(AttentionGradient g, int64_t chunks) {
  if (kHasTileInstructions) differentiate<kind, transposed, narrow>(g, chunks);
}

template <Arithmetic kind, bool transposed>
void launch_rows(Launch& launch, const AttentionGradient& g, int64_t rows, int64_t columns) {
  const AttentionLayout& p = g.forward.layout;
  const bool narrow =
      p.depth <= kAttentionDepth && p.value_depth <= kAttentionDepth && g.forward.whole_quads;
  const int64_t chunks = ceil_div(columns, kAttentionDepth);
  const auto kernel = narrow ? half_gradient_kernel<kind, transposed, true>
                             : half_gradient_kernel<kind, transposed, false>;
  launch.kernel_with_shared(kernel, p.batch * p.heads * ceil_div(rows, kAttentionRows) * chunks,
                            kAttentionThreads, half_attention_grad_shared_bytes(), g, chunks);
}

template <Arithmetic kind>
void launch_kind(Launch& launch, const AttentionGradient& g) {
  const AttentionLayout& p = g.forward.layout;
  launch_rows<kind, false>(launch, g, p.time, p.depth);
  launch_rows<kind, true>(launch, g, p.keys, p.depth > p.value_depth ? p.depth : p.value_depth);
}

}  // namespace

void launch_half_gradients(Launch& launch, const AttentionGradient& g, bool float16) {
  if (float16) {
    launch_kind<Arithmetic::kFloat16>(launch, g);
  } else {
    launch_kind<Arithmetic::kBfloat16>(launch, g);
  }
}

}  // namespace tandem::cuda
