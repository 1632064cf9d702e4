// Products of bytes for compute capability 9.0 alone. One warp of a block has the copy engine bring
// tiles of x and w to shared memory some stages ahead; two groups of four warps multiply them, 64
// rows each, straight from there. Blocks stay and take one tile after another, so that stages fill
// while the sums of the tile before leave. Those pass through shared memory of their own, for
// stores of whole lines (Thakkar et al., CUTLASS, has the scheme as "warp-specialized persistent").
#include "core/error.h"
#include "cuda/device/byte_pieces.cuh"
#include "cuda/device/mbarrier.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/device/wgmma.cuh"
#include "cuda/device_attribute.h"
#include "cuda/host/byte_tiles.h"
#include "cuda/tensor_map.h"

namespace tandem::cuda {
namespace {

constexpr int kRows = static_cast<int>(kWarpgroupRows);
constexpr int kWarpRows = kPieceRows;
constexpr int kWarps = kRows / kWarpRows;    // that multiply
constexpr int kThreads = (kWarps + 4) * 32;  // with the group whose first thread copies
// A block's registers come in equal parts, 168 to a thread; who copies leaves most to the others.
constexpr int kFewRegisters = 40;
constexpr int kManyRegisters = 232;
static_assert(4 * kFewRegisters + kWarps * kManyRegisters <= (kWarps + 4) * 168);
static_assert(kWarps * kPiece * 4 == kWarpgroupStaged);

/// A product with what tells the copy engine where its factors lie.
struct MappedProduct {
  CUtensorMap x, w;
  ByteProduct product;
  int32_t row_tiles, column_tiles;
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

constexpr int kDepth = static_cast<int>(kWarpgroupDepth);
constexpr int kStages = static_cast<int>(kWarpgroupStages);
constexpr int kGroupRows = 64;  // of a group of warps

template <int columns>
struct Stage {
  static constexpr int kXBytes = kRows * kDepth;
  static constexpr int kBytes = kXBytes + columns * kDepth;
};

using Stages = StageCounter<kStages>;

struct Barriers {
  uint64_t full[kStages], empty[kStages];
};

/// Calls `use(row, column)` for the tiles of this block.
template <typename Use>
TANDEM_DEVICE void for_own_tiles(const MappedProduct& p, const Use& use) {
  const int32_t tiles = p.row_tiles * p.column_tiles;
  for (auto i = static_cast<int32_t>(blockIdx.x); i < tiles; i += static_cast<int32_t>(gridDim.x))
    use(tile_place(i, p.row_tiles, p.column_tiles));
}

/// By one thread: fills stages as they become empty, and stays until they all are.
template <int columns>
TANDEM_DEVICE void copy_tiles(const MappedProduct& p, uint32_t stages, const Barriers& barriers,
                              int count) {
  Stages next;
  for_own_tiles(p, [&](const TilePlace& tile) {
    const int32_t row = tile.row * kRows;
    const int32_t column = tile.column * columns;
    for (int i = 0; i < count; ++i) {
      const uint32_t full = shared_address(&barriers.full[next.stage]);
      const uint32_t to = stages + static_cast<uint32_t>(next.stage * Stage<columns>::kBytes);
      watch_phase(shared_address(&barriers.empty[next.stage]), next.parity ^ 1);
      arrive_expecting(full, Stage<columns>::kBytes);
      copy_box(to, &p.x, row, i * kDepth, full);
      copy_box(to + Stage<columns>::kXBytes, &p.w, column, i * kDepth, full);
      next.advance();
    }
  });
  for (int i = 0; i < kStages; ++i) {
    watch_phase(shared_address(&barriers.empty[next.stage]), next.parity ^ 1);
    next.advance();
  }
}

/// By a group of warps: the sums of its rows of a tile.
template <int columns>
TANDEM_DEVICE void sum_tile(int32_t (&sums)[columns / 2], uint32_t stages, const Barriers& barriers,
                            int group, int count, Stages& next) {
  const bool tells = threadIdx.x % 32 == 0;  // for its warp that a stage is read
  int last = 0;
  for (int i = 0; i < count; ++i) {
    const uint32_t from = stages + static_cast<uint32_t>(next.stage * Stage<columns>::kBytes);
    const uint64_t x = swizzled_rows(from + static_cast<uint32_t>(group * kGroupRows * kDepth));
    const uint64_t w = swizzled_rows(from + Stage<columns>::kXBytes);
    wait_phase(shared_address(&barriers.full[next.stage]), next.parity);
    begin_products();
#pragma unroll
    for (int j = 0; j < kDepth / 32; ++j) {
      const auto on = static_cast<uint64_t>(j) * kNextDepth;
      multiply_async(sums, x + on, w + on, i > 0 || j > 0);
    }
    commit_products();
    wait_products<1>();
    if (tells && i > 0) arrive(shared_address(&barriers.empty[last]));
    last = next.stage;
    next.advance();
  }
  wait_products<0>();
  settle(sums);
  if (tells) arrive(shared_address(&barriers.empty[last]));
}

/// By a group of warps: tiles one after another.
template <int columns>
TANDEM_DEVICE void multiply_tiles(const MappedProduct& p, uint32_t stages, int32_t* staged,
                                  const Barriers& barriers, int count, int warp) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  staged += warp * kPiece;
  Stages next;
  int32_t sums[columns / 2];
  for_own_tiles(p, [&](const TilePlace& tile) {
    sum_tile<columns>(sums, stages, barriers, warp / 4, count, next);
    const int64_t row = int64_t{tile.row} * kRows + warp * kWarpRows;
    ByteRow own{};
    if (lane < kWarpRows && row + lane < p.product.m) own = byte_row(p.product.result, row + lane);
#pragma unroll 1
    for (int piece = 0; piece < columns / kPieceColumns; ++piece) {
      stage_piece<columns>(sums, staged, piece);
      __syncwarp();
      finish_piece(p.product, staged, row, own,
                   int64_t{tile.column} * columns + piece * kPieceColumns);
      __syncwarp();
    }
  });
}

template <int columns>
TANDEM_DEVICE void multiply_mapped(const MappedProduct& p) {
  __shared__ Barriers barriers;
  auto* memory = reinterpret_cast<uint8_t*>(dynamic_shared());
  memory += (kStageAlignment - shared_address(memory) % kStageAlignment) % kStageAlignment;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      make_barrier(shared_address(&barriers.full[i]), 1);
      make_barrier(shared_address(&barriers.empty[i]), kWarps);
    }
    barriers_made();
  }
  __syncthreads();
  const auto count = static_cast<int>((p.product.k + kDepth - 1) / kDepth);
  const uint32_t stages = shared_address(memory);
  // a warp's number as its lanes agree on it, so that the compiler knows that they do
  const int warp = __shfl_sync(0xFFFFFFFFU, static_cast<int>(threadIdx.x) / 32, 0);
  if (warp < kWarps) {
    take_registers<kManyRegisters>();
    auto* const staged = reinterpret_cast<int32_t*>(memory + kStages * Stage<columns>::kBytes);
    multiply_tiles<columns>(p, stages, staged, barriers, count, warp);
  } else {
    give_registers<kFewRegisters>();
    if (threadIdx.x == kWarps * 32) copy_tiles<columns>(p, stages, barriers, count);
  }
}

#else

/// Never started there.
template <int columns>
TANDEM_DEVICE void multiply_mapped(const MappedProduct& /*p*/) {
  __trap();
}

#endif

template <int columns>
__global__ void __launch_bounds__(kThreads, 1)
    warpgroup_kernel(const __grid_constant__ MappedProduct p) {
  multiply_mapped<columns>(p);
}

template <int columns>
void launch_columns(Launch& launch, const ByteProduct& product, int device) {
  MappedProduct p{map_byte_rows(product.x, product.m, product.k, kRows),
                  map_byte_rows(product.w, product.n, product.k, columns), product,
                  static_cast<int32_t>(ceil_div(product.m, kRows)),
                  static_cast<int32_t>(ceil_div(product.n, columns))};
  const int64_t tiles = int64_t{p.row_tiles} * p.column_tiles;
  const int64_t most = device_attribute(device, cudaDevAttrMultiProcessorCount);
  launch.kernel_with_shared(warpgroup_kernel<columns>, tiles < most ? tiles : most, kThreads,
                            warpgroup_shared(columns), p);
}

}  // namespace

void launch_byte_warpgroups(Launch& launch, const ByteProduct& product, int64_t columns) {
  const int device = current_device();
  if (!has_warpgroups(device))
    fail(ErrorCode::kDevice, "expected compute capability 9.0 for groups of warps");
  if (launch.measuring()) return;
  if (columns == 256) return launch_columns<256>(launch, product, device);
  return launch_columns<128>(launch, product, device);
}

}  // namespace tandem::cuda
