// Products of bytes with exact sums and everything that follows them: a block copies pieces of rows
// of x and w to shared memory some stages ahead, its warps multiply them on tensor cores, and the
// sums leave by way of shared memory, scaled, with bias and activation, as floats or as bytes. The
// rows of x may be windows of images that are gathered on the way (Chetlur et al., "cuDNN:
// Efficient Primitives for Deep Learning", 2014). The other way is cuBLASLt's product of signed
// bytes, for which x moves down by 128, and a pass over its sums.
#include "core/error.h"
#include "cuda/device/byte_mma.cuh"
#include "cuda/device/byte_product.cuh"
#include "cuda/device/copy_async.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/product_runner.h"

namespace tandem::cuda {
namespace {

constexpr int kUnit = static_cast<int>(kByteUnit);
constexpr int kUnits = static_cast<int>(kByteDepth / kByteUnit);  // of a row of a stage
constexpr int kAlong = static_cast<int>(kByteAlong);
constexpr int kStages = static_cast<int>(kByteStages);
constexpr int kWarpColumns = 32;
constexpr int kStagedAlong = kWarpColumns + 4;  // words between rows of sums in shared memory

/// Blocks that a multiprocessor has registers for. Without a number the compiler makes room for as
/// many as it sees fit, and spills. 128 registers a thread are enough on compute capability 8.0 to
/// 9.0, but for the smallest blocks; on others they are not.
constexpr int least_blocks([[maybe_unused]] int threads) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800 && __CUDA_ARCH__ < 1000
  return threads > 64 ? 512 / threads : 1;
#else
  return 1;
#endif
}

/// A block: warps of some rows and 32 columns each.
template <int rows_, int columns_, int row_warps>
struct Tile {
  static constexpr int kRows = rows_, kColumns = columns_;
  static constexpr int kColumnWarps = columns_ / kWarpColumns;
  static constexpr int kThreads = row_warps * kColumnWarps * 32;
  static constexpr int kLeastBlocks = least_blocks(kThreads);
  static constexpr int kWarpRows = rows_ / row_warps;
  static constexpr int kStageBytes = (rows_ + columns_) * kAlong;
  static_assert(byte_shared(rows_, columns_) == int64_t{kStages} * kStageBytes);
  static_assert(rows_ * kColumnWarps * kStagedAlong * 4 <= kStages * kStageBytes);
};

/// Where the window of a row of the product begins.
struct WindowStart {
  const uint8_t* image;
  int32_t row, column;
};

TANDEM_DEVICE WindowStart window_of(const ByteImages& s, const uint8_t* x, int64_t pixel) {
  const int64_t line = pixel / s.y_columns;
  const int64_t image = line / s.y_rows;
  return {x + image * s.rows * s.columns * s.channels,
          static_cast<int32_t>(line - image * s.y_rows) * s.stride_rows - s.padding_rows,
          static_cast<int32_t>(pixel - line * s.y_columns) * s.stride_columns - s.padding_columns};
}

/// Where channel 0 of the pixel that a tap reads lies, or null in the padding.
TANDEM_DEVICE const uint8_t* tap_pixel(const ByteImages& s, const WindowStart& start,
                                       uint32_t tap) {
  const auto tap_row = static_cast<int32_t>(tap / static_cast<uint32_t>(s.tap_columns));
  const int32_t tap_column = static_cast<int32_t>(tap) - tap_row * s.tap_columns;
  const int32_t row = start.row + tap_row * s.dilation_rows;
  const int32_t column = start.column + tap_column * s.dilation_columns;
  if (row < 0 || row >= s.rows || column < 0 || column >= s.columns) return nullptr;
  return start.image + (static_cast<int64_t>(row) * s.columns + column) * s.channels;
}

TANDEM_DEVICE uint32_t four_of(int32_t byte) { return static_cast<uint32_t>(byte) * 0x01010101U; }

/// The unit of a window from byte `k` on, all of one tap.
TANDEM_DEVICE void copy_pixels(uint8_t* to, const ByteProduct& p, const WindowStart& start,
                               uint32_t k, bool there) {
  const auto channels = static_cast<uint32_t>(p.images.channels);
  const uint32_t tap = k / channels;
  const uint8_t* const pixel = there ? tap_pixel(p.images, start, tap) : nullptr;
  if (there && pixel == nullptr) {
    const uint32_t zero = four_of(p.result.x_zero);
    *reinterpret_cast<uint4*>(to) = make_uint4(zero, zero, zero, zero);
    return;
  }
  copy_async(to, there ? pixel + (k - tap * channels) : p.x, there);
}

/// The same where taps end anywhere.
TANDEM_DEVICE void gather_bytes(uint8_t* to, const ByteProduct& p, const WindowStart& start,
                                uint32_t k, bool there) {
  const auto channels = static_cast<uint32_t>(p.images.channels);
  uint32_t tap = k / channels;
  uint32_t channel = k - tap * channels;
  const auto taps = static_cast<uint32_t>(p.images.taps);
  const uint8_t* pixel = there && tap < taps ? tap_pixel(p.images, start, tap) : nullptr;
#pragma unroll 1
  for (int word = 0; word < kUnit / 4; ++word) {
    uint32_t four = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      // what lies beyond the last tap meets weights of zero
      uint32_t byte = 0;
      if (there && tap < taps)
        byte = pixel == nullptr ? static_cast<uint32_t>(p.result.x_zero) : pixel[channel];
      four |= byte << (8 * i);
      if (++channel < channels) continue;
      channel = 0;
      ++tap;
      pixel = there && tap < taps ? tap_pixel(p.images, start, tap) : nullptr;
    }
    reinterpret_cast<uint32_t*>(to)[word] = four;
  }
}

/// Brings units of x and w to shared memory, always the same rows of a block by the same threads.
template <typename T, ByteSource source>
struct Loader {
  static constexpr int kUnitsOfX = T::kRows * kUnits;
  static constexpr int kUnitsOfW = T::kColumns * kUnits;
  static constexpr int kTurns = (kUnitsOfX + T::kThreads - 1) / T::kThreads;

  WindowStart starts[source == ByteSource::kRows ? 1 : kTurns];

  TANDEM_DEVICE void begin(const ByteProduct& p, int64_t row) {
    if constexpr (source != ByteSource::kRows) {
#pragma unroll
      for (int turn = 0; turn < kTurns; ++turn) {
        const int64_t at = row + (turn * T::kThreads + static_cast<int>(threadIdx.x)) / kUnits;
        starts[turn] = window_of(p.images, p.x, at < p.m ? at : 0);
      }
    }
  }

  /// The stage whose first summand is `first`.
  TANDEM_DEVICE void load(uint8_t* stage, const ByteProduct& p, int64_t row, int64_t column,
                          int64_t first) const {
    const int64_t k = first + threadIdx.x % kUnits * kUnit;
    const int at_unit = static_cast<int>(threadIdx.x % kUnits) * kUnit;
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int unit = turn * T::kThreads + static_cast<int>(threadIdx.x);
      if (kUnitsOfX % T::kThreads != 0 && unit >= kUnitsOfX) break;
      const int at = unit / kUnits;
      uint8_t* const to = stage + at * kAlong + at_unit;
      const bool there = row + at < p.m && k < p.k;
      if constexpr (source == ByteSource::kRows) {
        copy_async(to, there ? p.x + (row + at) * p.k + k : p.x, there);
      } else if constexpr (source == ByteSource::kPixels) {
        copy_pixels(to, p, starts[turn], static_cast<uint32_t>(k), there);
      } else {
        gather_bytes(to, p, starts[turn], static_cast<uint32_t>(k), there);
      }
    }
    uint8_t* const weights = stage + T::kRows * kAlong;
#pragma unroll
    for (int unit = static_cast<int>(threadIdx.x); unit < kUnitsOfW; unit += T::kThreads) {
      const int at = unit / kUnits;
      const bool there = column + at < p.n && k < p.k;
      copy_async(weights + at * kAlong + at_unit, there ? p.w + (column + at) * p.k + k : p.w,
                 there);
    }
  }
};

/// A lane's sums of a warp's tiles.
template <typename T>
struct ByteSums {
  static constexpr int kRowTiles = T::kWarpRows / 16;
  static constexpr int kColumnTiles = kWarpColumns / 8;
  int32_t at[kRowTiles][kColumnTiles][4];

  TANDEM_DEVICE void clear() {
#pragma unroll
    for (auto& row : at) {
#pragma unroll
      for (auto& tile : row) tile[0] = tile[1] = tile[2] = tile[3] = 0;
    }
  }

  /// Adds the product of a stage: `x` and `w` are the warp's first rows of it.
  TANDEM_DEVICE void add(const uint8_t* x, const uint8_t* w) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    x += lane % 16 * kAlong + lane / 16 * kUnit;
    w += (lane / 16 * 8 + lane % 8) * kAlong + lane / 8 % 2 * kUnit;
#pragma unroll
    for (int k = 0; k < static_cast<int>(kByteDepth); k += 32) {
      uint32_t columns[kColumnTiles / 2][4];
#pragma unroll
      for (int j = 0; j < kColumnTiles / 2; ++j) load_pieces(columns[j], w + j * 16 * kAlong + k);
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
        uint32_t rows[4];
        load_pieces(rows, x + i * 16 * kAlong + k);
#pragma unroll
        for (int j = 0; j < kColumnTiles; ++j)
          mma_bytes(at[i][j], rows, columns[j / 2] + j % 2 * 2);
      }
    }
  }

  /// Finishes the sums: the warp's rows begin at `row` and its columns at `column`. `staged` is
  /// shared memory of the warp.
  TANDEM_DEVICE void store(const ByteProduct& p, int32_t* staged, int64_t row, int64_t column) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    const int64_t own = column + lane;
    ByteColumn of_column{};
    if (own < p.n) of_column = byte_column(p.result, own);
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
      for (int j = 0; j < kColumnTiles; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e)
          staged[(i * 16 + lane / 4 + e / 2 * 8) * kStagedAlong + j * 8 + lane % 4 * 2 + e % 2] =
              at[i][j][e];
      }
    }
    __syncwarp();
#pragma unroll 1
    for (int r = 0; r < T::kWarpRows; ++r) {
      if (row + r < p.m && own < p.n)
        finish_sum(p.result, of_column, staged[r * kStagedAlong + lane], row + r, own);
    }
  }
};

template <typename T, ByteSource source>
__global__ void __launch_bounds__(T::kThreads, T::kLeastBlocks)
    byte_kernel(const __grid_constant__ ByteProduct p, int64_t row_tiles) {
  auto* const stages = reinterpret_cast<uint8_t*>(dynamic_shared());
  const int64_t row = blockIdx.x % row_tiles * T::kRows;
  const int64_t column = blockIdx.x / row_tiles * T::kColumns;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp / T::kColumnWarps * T::kWarpRows;
  const int warp_column = warp % T::kColumnWarps * kWarpColumns;
  const int64_t count = (p.k + kByteDepth - 1) / kByteDepth;
  Loader<T, source> loader;
  loader.begin(p, row);
  ByteSums<T> sums;
  sums.clear();
#pragma unroll
  for (int stage = 0; stage < kStages - 1; ++stage) {
    if (stage < count)
      loader.load(stages + stage * T::kStageBytes, p, row, column, stage * kByteDepth);
    commit_copies();
  }
  for (int64_t i = 0; i < count; ++i) {
    wait_copies<kStages - 2>();
    __syncthreads();  // stage i is there for all, and all are through with the one before
    const int64_t next = i + kStages - 1;
    if (next < count) {
      loader.load(stages + next % kStages * T::kStageBytes, p, row, column, next * kByteDepth);
    }
    commit_copies();
    const uint8_t* const stage = stages + i % kStages * T::kStageBytes;
    sums.add(stage + warp_row * kAlong, stage + (T::kRows + warp_column) * kAlong);
  }
  wait_copies<0>();
  __syncthreads();
  sums.store(p, reinterpret_cast<int32_t*>(stages) + warp * T::kWarpRows * kStagedAlong,
             row + warp_row, column + warp_column);
}

template <typename T>
void launch_tile(Launch& launch, const ByteProduct& p) {
  const int64_t row_tiles = ceil_div(p.m, T::kRows);
  const int64_t blocks = row_tiles * ceil_div(p.n, T::kColumns);
  const auto start = [&](auto* kernel) {
    launch.kernel_with_shared(kernel, blocks, T::kThreads, int64_t{kStages} * T::kStageBytes, p,
                              row_tiles);
  };
  switch (p.source) {
    case ByteSource::kRows:
      return start(byte_kernel<T, ByteSource::kRows>);
    case ByteSource::kPixels:
      return start(byte_kernel<T, ByteSource::kPixels>);
    case ByteSource::kGathered:
      return start(byte_kernel<T, ByteSource::kGathered>);
  }
}

// ---- by cuBLASLt -------------------------------------------------------------------------------

constexpr unsigned kThreads = 256;

/// Unsigned bytes less 128, four at a time: the highest bit changes.
__global__ void __launch_bounds__(kThreads)
    flip_kernel(const uint32_t* x, uint32_t* y, int64_t words) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < words) y[i] = x[i] ^ 0x80808080U;
}

__global__ void __launch_bounds__(kThreads)
    finish_kernel(const __grid_constant__ ByteProduct p, const int32_t* sums) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= p.m * p.n) return;
  const int64_t row = i / p.n;
  const int64_t column = i - row * p.n;
  finish_sum(p.result, byte_column(p.result, column), sums[i], row, column);
}

void launch_library(Launch& launch, ByteProduct p) {
  Product product;
  product.type = ProductType::kInt8;
  product.trans_b = true;
  product.m = p.m;
  product.n = p.n;
  product.k = p.k;
  const ProductChoice choice = launch.products().choose(product);
  if (!choice.found)
    fail(ErrorCode::kDevice, "expected cuBLASLt to multiply bytes, received no algorithm");
  auto* const flipped = launch.workspace<uint32_t>(p.m * p.k / 4);
  auto* const sums = launch.workspace<int32_t>(p.m * p.n);
  auto* const workspace = launch.workspace<std::byte>(choice.workspace_bytes);
  launch.kernel(flip_kernel, ceil_div(p.m * p.k / 4, kThreads), kThreads,
                reinterpret_cast<const uint32_t*>(p.x), flipped, p.m * p.k / 4);
  if (!launch.measuring()) {
    launch.products().run(product, {flipped, p.w, sums, nullptr, nullptr, workspace}, choice,
                          launch.stream());
  }
  p.result.x_zero -= 128;
  launch.kernel(finish_kernel, ceil_div(p.m * p.n, kThreads), kThreads, p, sums);
}

}  // namespace

void launch_byte_way(Launch& launch, const ByteProduct& p, ByteWay way) {
  switch (way) {
    case ByteWay::kTile16x64:
      return launch_tile<Tile<16, 64, 1>>(launch, p);
    case ByteWay::kTile64x64:
      return launch_tile<Tile<64, 64, 2>>(launch, p);
    case ByteWay::kTile128x128:
      return launch_tile<Tile<128, 128, 2>>(launch, p);
    case ByteWay::kWarpgroups128x128:
      return launch_byte_warpgroups(launch, p, 128);
    case ByteWay::kWarpgroups128x256:
      return launch_byte_warpgroups(launch, p, 256);
    case ByteWay::kLibrary:
      return launch_library(launch, p);
  }
}

void launch_byte_product(Launch& launch, const ByteProduct& p) {
  const ByteShape shape{p.m, p.n, p.k, p.source == ByteSource::kRows, p.result.to_bytes};
  launch_byte_way(launch, p, launch.products().choose_bytes(shape));
}

}  // namespace tandem::cuda
