// attention in bfloat16 or float16 by groups of warps, for compute capability 9.0 alone: what
// kernels/attention_half.cu computes, for heads of 64 or 128 numbers and without a mask. Three
// groups of four warps have 64 queries each. A fourth reads keys and values, rounds them and writes
// them to shared memory some tiles ahead, where the products of the others find them; scores and
// exponentials never leave registers. While one group is at its exponentials the others multiply:
// Shah et al., "FlashAttention-3" (2024). Blocks stay and take one part of the queries after
// another, so that the next queries and keys are there when the sums of those before leave.
#include "core/error.h"
#include "cuda/device/attention_grad.cuh"
#include "cuda/device/half_tiles.cuh"
#include "cuda/device/rounded_tiles.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/device_attribute.h"
#include "cuda/half_attention.h"

namespace tandem::cuda {
namespace {

constexpr int kGroups = 3;
constexpr int kGroupRows = 64;
constexpr int kRows = kGroups * kGroupRows;  // queries of a block
constexpr int kWarps = 4 * kGroups;          // that multiply
constexpr int kThreads = (kWarps + 4) * 32;  // with those that copy

constexpr int kStages = 6;            // tiles of keys and of values in turn
constexpr int kQueryStages = 2;       // tiles of queries
constexpr int64_t kAlignment = 1024;  // of tiles
/// Rows of a head, and parts of a launch: they are numbered in 32 bits.
constexpr int64_t kMostRows = int64_t{1} << 30;

/// Tiles for heads of `depth` numbers.
template <int depth>
struct Tiles {
  static constexpr int kKeys = depth == 64 ? 128 : 64;  // rows of a tile of keys, or of values
  static constexpr int kBytes = kKeys * depth * 2;
  static constexpr int kQueryBytes = kRows * depth * 2;
  static constexpr int64_t kShared =
      int64_t{kStages} * kBytes + int64_t{kQueryStages} * kQueryBytes + kAlignment;
};

/// What a launch is about.
struct Work {
  Attention attention;
  Result y;
  float2* log_sums;    // by query: the largest score, and the logarithm of the sum
  int32_t row_blocks;  // of a head
  int32_t parts;       // of all heads
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// A block's registers come in equal parts, 128 to a thread; who copies leaves some to the others.
template <int depth>
struct Registers {
  /// Quads of rows that a thread has under way: as many as the sums leave room for.
  static constexpr int kHeld = depth == 64 ? 16 : 8;
  static constexpr int kFew = depth == 64 ? 96 : 56;
  static constexpr int kMany = ((kWarps + 4) * 128 - 4 * kFew) / kWarps / 8 * 8;  // by eights
  static_assert(kFew < 128 && kMany > 128);
};

template <int depth>
struct Rings {
  Ring<kQueryStages, Tiles<depth>::kQueryBytes> queries;
  Ring<kStages, Tiles<depth>::kBytes> tiles;  // keys, then the values of the same rows
  static constexpr int kBarriers = decltype(queries)::kBarriers + decltype(tiles)::kBarriers;
};

/// Tiles of keys that the queries before `end` see.
template <int depth>
TANDEM_DEVICE int32_t tiles_seen(const Attention& a, int32_t end) {
  const auto time = static_cast<int32_t>(a.layout.time);
  auto keys = static_cast<int32_t>(a.layout.keys);
  if (a.causal) keys = min(keys, min(end, time));
  return (keys + Tiles<depth>::kKeys - 1) / Tiles<depth>::kKeys;
}

/// Calls `use(matrix, query)` for the parts of this block: a head, and the first of its queries.
/// Of a head those that see most come first.
template <typename Use>
TANDEM_DEVICE void for_own_queries(const Work& w, const Use& use) {
  for_own_parts(w.parts, [&](int32_t part) {
    use(part / w.row_blocks, (w.row_blocks - 1 - part % w.row_blocks) * kRows);
  });
}

/// By the group that copies: all tiles of this block.
template <Arithmetic kind, int depth>
TANDEM_DEVICE void copy_tiles(const Work& w, Rings<depth> rings) {
  constexpr int kKeys = Tiles<depth>::kKeys;
  const Attention& a = w.attention;
  const AttentionLayout& p = a.layout;
  const int thread = static_cast<int>(threadIdx.x) - kWarps * 32;
  for_own_queries(w, [&](int32_t matrix, int32_t query) {
    const HeadRows q = head_rows(a.q, p.q, matrix, p.heads, p.time, depth);
    const HeadRows k = head_rows(a.k, p.k, matrix, p.heads, p.keys, depth);
    const HeadRows v = head_rows(a.v, p.v, matrix, p.heads, p.keys, depth);
    copy_rows<kind, depth, kRows>(rings.queries.tile(), q, query, thread,
                                  [&] { rings.queries.wait_empty(); });
    rings.queries.filled();
    const int32_t count = 2 * tiles_seen<depth>(a, query + kRows);
#pragma unroll 1
    for (int32_t i = 0; i < count; ++i) {
      copy_rows<kind, depth, kKeys, Registers<depth>::kHeld>(rings.tiles.tile(), i % 2 == 0 ? k : v,
                                                             i / 2 * kKeys, thread,
                                                             [&] { rings.tiles.wait_empty(); });
      rings.tiles.filled();
    }
  });
}

/// Hides keys of a tile, each row's from `ends` on.
template <int tiles>
TANDEM_DEVICE void hide(float (&products)[tiles][4], const int (&ends)[2]) {
#pragma unroll
  for (int i = 0; i < tiles; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (column_of_element(i, e) >= ends[e / 2]) products[i][e] = -INFINITY;
    }
  }
}

/// Turns products of queries and keys into exponentials, and shrinks the sums so far to what these
/// are relative to. `unit` is what a product counts, to base 2. Differences are taken before they
/// are scaled, so that they are 0 where products are equal. Of a row's sum each lane has a part.
template <int score_tiles, int tiles>
TANDEM_DEVICE void raise(float unit, float (&products)[score_tiles][4], RowState (&rows)[2],
                         float (&sums)[tiles][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    RowState& row = rows[half];
    float found = -INFINITY;
#pragma unroll
    for (int i = 0; i < score_tiles; ++i)
      found = fmaxf(found, fmaxf(products[i][2 * half], products[i][2 * half + 1]));
    found = row_largest(found);
    const float before = row.largest;
    row.largest = fmaxf(before, found);
    // where all are -infinity, any finite shift makes them zeros
    const float shift = row.largest == -INFINITY ? 0.0F : row.largest;
    const float factor = before == -INFINITY ? 0.0F : power_of_two((before - shift) * unit);
    float more = 0.0F;
#pragma unroll
    for (int i = 0; i < score_tiles; ++i) {
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; ++e) {
        const float power = power_of_two((products[i][e] - shift) * unit);
        products[i][e] = power;
        more += power;
      }
    }
    row.sum = fmaf(row.sum, factor, more);
#pragma unroll
    for (int i = 0; i < tiles; ++i) {
      sums[i][2 * half] *= factor;
      sums[i][2 * half + 1] *= factor;
    }
  }
}

/// By a group of warps: its queries of a part.
template <Arithmetic kind, int depth>
class Group {
 public:
  TANDEM_DEVICE Group(const Work& work, Rings<depth>& rings, int warp)
      : w_(work), rings_(rings), warp_(warp) {}

  TANDEM_DEVICE void attend(int32_t matrix, int32_t query) {
    const Attention& a = w_.attention;
    const int32_t own = query + warp_ / 4 * kGroupRows;
    first_ = own + warp_ % 4 * kTileRows;
    const int32_t all = tiles_seen<depth>(a, query + kRows);
    const int32_t seen = own < a.layout.time ? tiles_seen<depth>(a, own + kGroupRows) : 0;
    Accumulators<depth / kTileColumns> sums;
    RowState rows[2];
    sums.clear();
    rings_.queries.wait_full();
    if (seen > 0) sum_values(sums.at, rows, seen);
    for (int32_t i = seen; i < all; ++i) {
      skip_tile();
      skip_tile();
    }
    release(rings_.queries.empty());
    rings_.queries.advance();
    end(sums, rows, matrix);
  }

 private:
  static constexpr int kKeys = Tiles<depth>::kKeys;
  using Products = float[kKeys / kTileColumns][4];
  using Sums = float[depth / kTileColumns][4];
  /// Whether there are registers for the next products beside rounded exponentials.
  static constexpr bool kAhead = depth > 64;

  /// Through the first `seen` tiles.
  TANDEM_DEVICE void sum_values(Sums& sums, RowState (&rows)[2], int32_t seen) {
    auto& tiles = rings_.tiles;
    const uint32_t queries =
        rings_.queries.tile() + static_cast<uint32_t>(warp_ / 4 * kGroupRows * kBlockRowBytes);
    Products products;
    tiles.wait_full();
    begin_products();
    begin_along<kind, depth, kRows, kKeys>(products, queries, tiles.tile());
    commit_products();
    wait_products<0>();
    settle(products);
    release(tiles.empty());
    tiles.advance();
    for (int32_t i = 0; i + 1 < seen; ++i) add_tile<true>(sums, rows, products, queries, i);
    add_tile<false>(sums, rows, products, queries, seen - 1);
  }

  /// Adds the values of tile `i` whose products are there, and has the next ones computed if there
  /// are `more`.
  template <bool more>
  TANDEM_DEVICE void add_tile(Sums& sums, RowState (&rows)[2], Products& products, uint32_t queries,
                              int32_t i) {
    auto& tiles = rings_.tiles;
    hide_unseen(products, i);
    raise(w_.attention.scale * kLog2OfE, products, rows, sums);
    uint32_t powers[kKeys / 16][4];
    round_words<kind>(powers, products);
    tiles.wait_full();
    const uint32_t values_empty = tiles.empty();
    begin_products();
    begin_across<kind>(sums, powers, tiles.tile());
    commit_products();
    tiles.advance();
    if constexpr (!kAhead) {
      forget(products);
      wait_products<0>();
      settle(sums);
    }
    if constexpr (more) {
      tiles.wait_full();
      begin_products();
      begin_along<kind, depth, kRows, kKeys>(products, queries, tiles.tile());
      commit_products();
    }
    wait_products<0>();
    if constexpr (kAhead) settle(sums);
    release(values_empty);
    if constexpr (more) {
      settle(products);
      release(tiles.empty());
      tiles.advance();
    }
  }

  /// Hides keys that are not there, and those that come after a query where it must not see them.
  TANDEM_DEVICE void hide_unseen(Products& products, int32_t i) const {
    const Attention& a = w_.attention;
    const int32_t key = i * kKeys;
    const int32_t there = static_cast<int32_t>(a.layout.keys) - key;
    const int32_t ahead = a.causal ? first_ - key : kKeys;  // keys that all see, but for one
    if (min(there, ahead + 1) >= kKeys) return;
    int ends[2];
#pragma unroll
    for (int half = 0; half < 2; ++half)
      ends[half] = min(there, ahead + 1 + row_of_element(2 * half));
    hide(products, ends);
  }

  TANDEM_DEVICE void skip_tile() {
    rings_.tiles.wait_full();
    release(rings_.tiles.empty());
    rings_.tiles.advance();
  }

  TANDEM_DEVICE void end(Accumulators<depth / kTileColumns>& sums, RowState (&rows)[2],
                         int32_t matrix) const {
    const Attention& a = w_.attention;
    const AttentionLayout& p = a.layout;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      rows[half].largest = __fmul_rn(rows[half].largest, a.scale);
      rows[half].sum = row_sum(rows[half].sum);
    }
    end_rows(sums, rows, w_.log_sums + int64_t{matrix} * p.time, first_, p.time);
    const HeadResult y(w_.y, p.y, matrix, p.heads, p.time, depth);
    write_rows(sums, 1.0F, y, first_, 0, true);
  }

  const Work& w_;
  Rings<depth>& rings_;
  int warp_;
  int32_t first_ = 0;  // this warp's first query
};

template <Arithmetic kind, int depth>
TANDEM_DEVICE void attend(const Work& w) {
  __shared__ uint64_t barriers[Rings<depth>::kBarriers];
  uint32_t memory = shared_address(dynamic_shared());
  memory += (kAlignment - memory % kAlignment) % kAlignment;
  Rings<depth> rings{};
  rings.queries.tiles = memory;
  rings.queries.barriers = shared_address(barriers);
  rings.tiles.tiles = memory + kQueryStages * Tiles<depth>::kQueryBytes;
  rings.tiles.barriers = rings.queries.barriers + rings.queries.kBarriers * kBarrierBytes;
  if (threadIdx.x == 0) {
    rings.queries.make(kWarps);
    rings.tiles.make(kWarps);
    barriers_made();
  }
  __syncthreads();
  // a warp's number as its lanes agree on it, so that the compiler knows that they do
  const int warp = __shfl_sync(kAllLanes, static_cast<int>(threadIdx.x) / 32, 0);
  if (warp < kWarps) {
    take_registers<Registers<depth>::kMany>();
    Group<kind, depth> group(w, rings, warp);
    for_own_queries(w, [&](int32_t matrix, int32_t query) { group.attend(matrix, query); });
  } else {
    give_registers<Registers<depth>::kFew>();
    copy_tiles<kind, depth>(w, rings);
  }
}

#else

/// Never started there.
template <Arithmetic kind, int depth>
TANDEM_DEVICE void attend(const Work& /*w*/) {
  __trap();
}

#endif

template <Arithmetic kind, int depth>
__global__ void __launch_bounds__(kThreads, 1)
    warpgroup_attention_kernel(const __grid_constant__ Work w) {
  attend<kind, depth>(w);
}

template <Arithmetic kind, int depth>
void launch_depth(Launch& launch, const Attention& a) {
  const AttentionLayout& p = a.layout;
  const int64_t row_blocks = ceil_div(p.time, kRows);
  const int64_t parts = p.batch * p.heads * row_blocks;
  const Work w{a, launch.result(), reinterpret_cast<float2*>(launch.out(1)),
               static_cast<int32_t>(row_blocks), static_cast<int32_t>(parts)};
  const int64_t most = device_attribute(current_device(), cudaDevAttrMultiProcessorCount);
  launch.kernel_with_shared(warpgroup_attention_kernel<kind, depth>, parts < most ? parts : most,
                            kThreads, Tiles<depth>::kShared, w);
}

template <Arithmetic kind>
void launch_kind(Launch& launch, const Attention& a) {
  if (a.layout.depth == 64) return launch_depth<kind, 64>(launch, a);
  return launch_depth<kind, 128>(launch, a);
}

}  // namespace

bool has_attention_warpgroups(const Attention& a) {
  const AttentionLayout& p = a.layout;
  const bool few = p.time <= kMostRows && p.keys <= kMostRows && p.batch * p.heads <= kMostRows &&
                   p.batch * p.heads * (p.time / kGroupRows + 1) <= kMostRows;
  return a.mask == nullptr && a.whole_quads && (p.depth == 64 || p.depth == 128) &&
         p.value_depth == p.depth && few && has_warpgroups(current_device());
}

void launch_attention_warpgroups(Launch& launch, const Attention& a, bool float16) {
  if (launch.measuring()) return;
  if (!has_attention_warpgroups(a))
    fail(ErrorCode::kDevice, "expected compute capability 9.0 for attention by groups of warps");
  if (float16) return launch_kind<Arithmetic::kFloat16>(launch, a);
  return launch_kind<Arithmetic::kBfloat16>(launch, a);
}

}  // namespace tandem::cuda
