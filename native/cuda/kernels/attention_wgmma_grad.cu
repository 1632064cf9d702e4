// attentionGrad in bfloat16 or float16 by groups of warps, for compute capability 9.0 alone: what
// kernels/attention_half_grad.cu computes, in the same two passes, for heads of 64 numbers and
// without a mask. Two groups of four warps have 64 rows of a head each and go through the rows
// that they meet, 64 at a time; a third reads those, rounds them and writes them to shared memory
// some tiles ahead:
//   queries through keys:  dq += dS k, from S = q k^T and dP = dy v^T
//   keys through queries:  dk += dS^T q and dv += P^T dy, from S^T = k q^T and dP^T = v dy^T
// P and dS go from registers into the second products, and the next scores are computed at the same
// time. Blocks stay, as in kernels/attention_wgmma.cu. Wider heads would need more registers than
// there are.
#include "core/error.h"
#include "cuda/device/query_states.cuh"
#include "cuda/device/rounded_tiles.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/device_attribute.h"
#include "cuda/half_attention.h"

namespace tandem::cuda {
namespace {

constexpr int kGroups = 2;
constexpr int kGroupRows = 64;
constexpr int kRows = kGroups * kGroupRows;  // of a block
constexpr int kWarps = 4 * kGroups;          // that multiply
constexpr int kThreads = (kWarps + 4) * 32;  // with those that copy
// A block's registers come in equal parts, 168 to a thread; who copies leaves some to the others.
constexpr int kFewRegisters = 88;
constexpr int kManyRegisters = 208;
static_assert(4 * kFewRegisters + kWarps * kManyRegisters <= (kWarps + 4) * 168);

constexpr int kDepth = 64;
constexpr int kMet = kAttentionRows;  // rows of a tile that the block goes through
constexpr int64_t kAlignment = 1024;  // of tiles

/// Tiles hold two operands, and of queries that are met their states.
constexpr int kOwnSecond = kRows * kDepth * 2;  // where the second operand begins
constexpr int kOwnBytes = 2 * kOwnSecond;
constexpr int kMetSecond = kMet * kDepth * 2;
constexpr int kMetStates = 2 * kMetSecond;
constexpr int kMetBytes = kMetStates + 1024;
constexpr int kOwnStages = 2;
constexpr int kMetStages = 6;
constexpr int64_t kShared =
    int64_t{kOwnStages} * kOwnBytes + int64_t{kMetStages} * kMetBytes + kAlignment;
static_assert(sizeof(QueryStates) <= 1024);

/// What a launch is about.
struct Work {
  AttentionGradient gradient;
  int32_t row_blocks;  // of a head
  int32_t parts;       // of all heads
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

struct Rings {
  Ring<kOwnStages, kOwnBytes> own;
  Ring<kMetStages, kMetBytes> met;
  static constexpr int kBarriers = decltype(own)::kBarriers + decltype(met)::kBarriers;
};

/// Tiles from `begin` to `end`.
struct TileRange {
  int32_t begin, end;
};

/// Those that `rows` rows from `row` on meet: keys that a query sees, or queries that see a key
/// when `transposed`.
template <bool transposed>
TANDEM_DEVICE TileRange tiles_met(const Attention& a, int32_t row, int32_t rows) {
  const auto time = static_cast<int32_t>(a.layout.time);
  const auto keys = static_cast<int32_t>(a.layout.keys);
  const auto tiles = [](int32_t n) { return (n + kMet - 1) / kMet; };
  if (row >= (transposed ? keys : time)) return {0, 0};
  if (transposed) return {a.causal ? min(row / kMet, tiles(time)) : 0, tiles(time)};
  return {0, tiles(a.causal ? min(row + rows, keys) : keys)};
}

/// Calls `use(matrix, row)` for the parts of this block: a head, and the first of its rows. Of a
/// head those that meet most come first.
template <bool transposed, typename Use>
TANDEM_DEVICE void for_own_rows(const Work& w, const Use& use) {
  for_own_parts(w.parts, [&](int32_t part) {
    const int32_t block = part % w.row_blocks;
    use(part / w.row_blocks, (transposed ? block : w.row_blocks - 1 - block) * kRows);
  });
}

/// The states of a tile of queries.
TANDEM_DEVICE QueryStates& states_at(uint32_t address) {
  return *static_cast<QueryStates*>(__cvta_shared_to_generic(address));
}

/// By the group that copies: all tiles of this block.
template <Arithmetic kind, bool transposed>
TANDEM_DEVICE void copy_tiles(const Work& w, Rings rings) {
  const Attention& a = w.gradient.forward;
  const int thread = static_cast<int>(threadIdx.x) - kWarps * 32;
  for_own_rows<transposed>(w, [&](int32_t matrix, int32_t row) {
    const GradientHead h = gradient_head(w.gradient, matrix);
    auto& own = rings.own;
    auto& met = rings.met;
    copy_both<kind, kDepth, kRows>(own.tile(), kOwnSecond, transposed ? h.k : h.q,
                                   transposed ? h.v : h.dy, row, thread, [&] { own.wait_empty(); });
    own.filled();
    const TileRange range = tiles_met<transposed>(a, row, kRows);
#pragma unroll 1
    for (int32_t i = range.begin; i < range.end; ++i) {
      const int32_t at = i * kMet;
      QueryState state;
      if (transposed && thread < kMet) state.fetch(h, at + thread);
      copy_both<kind, kDepth, kMet>(met.tile(), kMetSecond, transposed ? h.q : h.k,
                                    transposed ? h.dy : h.v, at, thread, [&] { met.wait_empty(); });
      if (transposed && thread < kMet) states_at(met.tile() + kMetStates).put(thread, state);
      met.filled();
    }
  });
}

/// By a group of warps: its rows of a part.
template <Arithmetic kind, bool transposed>
class Group {
 public:
  TANDEM_DEVICE Group(const Work& work, Rings& rings, int warp)
      : w_(work), rings_(rings), warp_(warp) {}

  TANDEM_DEVICE void differentiate(int32_t matrix, int32_t row) {
    const Attention& a = w_.gradient.forward;
    const int32_t own = row + warp_ / 4 * kGroupRows;
    first_ = own + warp_ % 4 * kTileRows;
    if constexpr (!transposed) {
      const GradientHead h = gradient_head(w_.gradient, matrix);
#pragma unroll
      for (int half = 0; half < 2; ++half)
        states_[half].fetch(h, first_ + row_of_element(2 * half));
    }
    const TileRange all = tiles_met<transposed>(a, row, kRows);
    TileRange range = tiles_met<transposed>(a, own, kGroupRows);
    if (range.begin == range.end) range = {all.end, all.end};
    d_first_.clear();
    d_second_.clear();
    rings_.own.wait_full();
    skip(range.begin - all.begin);
    if (range.begin < range.end) sum_tiles(range);
    skip(all.end - range.end);
    release(rings_.own.empty());
    rings_.own.advance();
    write(matrix);
  }

 private:
  using Products = float[kMet / kTileColumns][4];
  using Words = uint32_t[kMet / 16][4];

  TANDEM_DEVICE void sum_tiles(const TileRange& range) {
    Products scores;
    Products gradients;
    multiply_next(scores, gradients);
    wait_products<0>();
    settle(scores);
    settle(gradients);
    for (int32_t i = range.begin; i + 1 < range.end; ++i) add_tile<true>(scores, gradients, i);
    add_tile<false>(scores, gradients, range.end - 1);
  }

  /// Begins the products of the tile that is next.
  TANDEM_DEVICE void multiply_next(Products& scores, Products& gradients) {
    const uint32_t own =
        rings_.own.tile() + static_cast<uint32_t>(warp_ / 4 * kGroupRows * kBlockRowBytes);
    const uint32_t met = rings_.met.tile();
    rings_.met.wait_full();
    forget(scores);
    forget(gradients);
    begin_products();
    begin_along<kind, kDepth, kRows, kMet>(scores, own, met);
    begin_products();
    begin_along<kind, kDepth, kRows, kMet>(gradients, own + kOwnSecond, met + kMetSecond);
    commit_products();
  }

  /// Adds what tile `i` contributes, whose products are there, and has the next ones computed if
  /// there are `more`.
  template <bool more>
  TANDEM_DEVICE void add_tile(Products& scores, Products& gradients, int32_t i) {
    const uint32_t met = rings_.met.tile();
    const uint32_t empty = rings_.met.empty();
    grade(scores, gradients, i * kMet, states_at(met + kMetStates));
    Words powers;
    Words graded;
    if constexpr (transposed) round_words<kind>(powers, scores);
    round_words<kind>(graded, gradients);
    rings_.met.advance();
    if constexpr (transposed) {
      begin_products();
      begin_across<kind>(d_second_.at, powers, met + kMetSecond);
    }
    begin_products();
    begin_across<kind>(d_first_.at, graded, met);
    commit_products();
    if constexpr (more) multiply_next(scores, gradients);
    settle_sums();
    release(empty);
    if constexpr (more) {
      settle(scores);
      settle(gradients);
    }
  }

  /// Waits for all products.
  TANDEM_DEVICE void settle_sums() {
    wait_products<0>();
    settle(d_first_.at);
    if constexpr (transposed) settle(d_second_.at);
  }

  /// Turns products of queries and keys into probabilities, and those of dy and values into the
  /// gradients of scores, of the tile of rows from `at` on. Queries that are not there have
  /// probabilities of zero; keys that are not are hidden: their scores of zero may lie above all
  /// that a softmax saw, and what that makes of their gradients may be no number of 16 bits.
  TANDEM_DEVICE void grade(Products& scores, Products& gradients, int32_t at,
                           const QueryStates& all) const {
    const Attention& a = w_.gradient.forward;
    const int32_t there = static_cast<int32_t>(a.layout.keys) - at;
    const int32_t ahead = a.causal ? first_ - at : transposed ? -kTileRows : kMet;
    // whether every query sees every key
    const bool plain = transposed ? ahead <= -(kTileRows - 1) : min(there, ahead + 1) >= kMet;
    if (plain) {
      grade_all<true>(scores, gradients, 0, 0, all);
    } else {
      grade_all<false>(scores, gradients, ahead, there, all);
    }
  }

  /// The same; `ahead`: how far the warp's first row is from the tile's, or too far to hide any;
  /// `there`: how many keys there are from the tile's first on. `plain`: all are seen.
  template <bool plain>
  TANDEM_DEVICE void grade_all(Products& scores, Products& gradients, int ahead, int there,
                               const QueryStates& all) const {
    const float scale = w_.gradient.forward.scale;
#pragma unroll
    for (int i = 0; i < kMet / kTileColumns; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int column = column_of_element(i, e);
        const int row = row_of_element(e) + ahead;
        const QueryState query = transposed ? all.at(column) : states_[e / 2];
        const bool seen = plain || (transposed ? row <= column : column < min(row + 1, there));
        float& product = scores[i][e];
        float& gradient = gradients[i][e];
        const float score = __fmul_rn(product, scale);
        const float power = fmaf(score - query.largest, kLog2OfE, -query.log_sum);
        product = seen ? power_of_two(power > 0.0F ? 0.0F : power) : 0.0F;
        gradient = seen ? product * (gradient - query.delta) : 0.0F;
      }
    }
  }

  TANDEM_DEVICE void skip(int32_t tiles) {
    for (int32_t i = 0; i < tiles; ++i) {
      rings_.met.wait_full();
      release(rings_.met.empty());
      rings_.met.advance();
    }
  }

  TANDEM_DEVICE void write(int32_t matrix) const {
    const AttentionGradient& g = w_.gradient;
    const AttentionLayout& p = g.forward.layout;
    if constexpr (transposed) {
      const HeadResult dk(g.dk, p.k, matrix, p.heads, p.keys, kDepth);
      const HeadResult dv(g.dv, p.v, matrix, p.heads, p.keys, kDepth);
      write_rows(d_first_, g.forward.scale, dk, first_, 0, true);
      write_rows(d_second_, 1.0F, dv, first_, 0, true);
    } else {
      const HeadResult dq(g.dq, p.q, matrix, p.heads, p.time, kDepth);
      write_rows(d_first_, g.forward.scale, dq, first_, 0, true);
    }
  }

  const Work& w_;
  Rings& rings_;
  int warp_;
  int32_t first_ = 0;  // this warp's first row
  QueryState states_[2];
  Accumulators<kDepth / kTileColumns> d_first_, d_second_;
};

template <Arithmetic kind, bool transposed>
TANDEM_DEVICE void differentiate(const Work& w) {
  __shared__ uint64_t barriers[Rings::kBarriers];
  uint32_t memory = shared_address(dynamic_shared());
  memory += (kAlignment - memory % kAlignment) % kAlignment;
  Rings rings{};
  rings.own.tiles = memory;
  rings.own.barriers = shared_address(barriers);
  rings.met.tiles = memory + kOwnStages * kOwnBytes;
  rings.met.barriers = rings.own.barriers + rings.own.kBarriers * kBarrierBytes;
  if (threadIdx.x == 0) {
    rings.own.make(kWarps);
    rings.met.make(kWarps);
    barriers_made();
  }
  __syncthreads();
  // a warp's number as its lanes agree on it, so that the compiler knows that they do
  const int warp = __shfl_sync(kAllLanes, static_cast<int>(threadIdx.x) / 32, 0);
  if (warp < kWarps) {
    take_registers<kManyRegisters>();
    Group<kind, transposed> group(w, rings, warp);
    for_own_rows<transposed>(
        w, [&](int32_t matrix, int32_t row) { group.differentiate(matrix, row); });
  } else {
    give_registers<kFewRegisters>();
    copy_tiles<kind, transposed>(w, rings);
  }
}

#else

/// Never started there.
template <Arithmetic kind, bool transposed>
TANDEM_DEVICE void differentiate(const Work& /*w*/) {
  __trap();
}

#endif

template <Arithmetic kind, bool transposed>
__global__ void __launch_bounds__(kThreads, 1)
    warpgroup_gradient_kernel(const __grid_constant__ Work w) {
  differentiate<kind, transposed>(w);
}

template <Arithmetic kind, bool transposed>
void launch_rows(Launch& launch, const AttentionGradient& g, int64_t rows) {
  const AttentionLayout& p = g.forward.layout;
  const int64_t row_blocks = ceil_div(rows, kRows);
  const int64_t parts = p.batch * p.heads * row_blocks;
  const Work w{g, static_cast<int32_t>(row_blocks), static_cast<int32_t>(parts)};
  const int64_t most = device_attribute(current_device(), cudaDevAttrMultiProcessorCount);
  launch.kernel_with_shared(warpgroup_gradient_kernel<kind, transposed>,
                            parts < most ? parts : most, kThreads, kShared, w);
}

template <Arithmetic kind>
void launch_kind(Launch& launch, const AttentionGradient& g) {
  launch_rows<kind, false>(launch, g, g.forward.layout.time);
  launch_rows<kind, true>(launch, g, g.forward.layout.keys);
}

}  // namespace

bool has_gradient_warpgroups(const Attention& a) {
  return a.layout.depth == kDepth && has_attention_warpgroups(a);
}

void launch_gradient_warpgroups(Launch& launch, const AttentionGradient& g, bool float16) {
  if (launch.measuring()) return;
  if (!has_gradient_warpgroups(g.forward))
    fail(ErrorCode::kDevice, "expected compute capability 9.0 for gradients by groups of warps");
  if (float16) return launch_kind<Arithmetic::kFloat16>(launch, g);
  return launch_kind<Arithmetic::kBfloat16>(launch, g);
}

}  // namespace tandem::cuda
