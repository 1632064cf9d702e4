// Tiles of numbers of 16 bits in shared memory, as device/half_wgmma.cuh has them, on their way
// from a group of warps that reads rows of floats and rounds them to others that multiply.
#pragma once

#include "cuda/device/attention.cuh"
#include "cuda/device/half_wgmma.cuh"
#include "cuda/device/mbarrier.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

namespace tandem::cuda {

inline constexpr int kCopiers = 128;        // threads of the group that copies
inline constexpr int kBlockNumbers = 64;    // of a row, in a block of a tile
inline constexpr int kBlockRowBytes = 128;  // that these take
inline constexpr uint32_t kBarrierBytes = 8;

/// Room for `stages` tiles that are filled and read in turn. Every thread that has to do with it
/// counts for itself which is next.
template <int stages, int bytes>
struct Ring {
  static constexpr int kBarriers = 2 * stages;
  uint32_t tiles, barriers;  // where they begin
  StageCounter<stages> next;

  /// By one thread; `readers`: warps that release a tile.
  TANDEM_DEVICE void make(uint32_t readers) const {
    for (uint32_t i = 0; i < stages; ++i) {
      make_barrier(barriers + i * kBarrierBytes, kCopiers);
      make_barrier(barriers + (stages + i) * kBarrierBytes, readers);
    }
  }
  [[nodiscard]] TANDEM_DEVICE uint32_t tile() const {
    return tiles + static_cast<uint32_t>(next.stage) * bytes;
  }
  [[nodiscard]] TANDEM_DEVICE uint32_t full() const {
    return barriers + static_cast<uint32_t>(next.stage) * kBarrierBytes;
  }
  [[nodiscard]] TANDEM_DEVICE uint32_t empty() const { return full() + stages * kBarrierBytes; }

  /// By those who copy: before the first byte of a tile, and after the last.
  TANDEM_DEVICE void wait_empty() const { watch_phase(empty(), next.parity ^ 1); }
  TANDEM_DEVICE void filled() {
    show_writes();
    arrive(full());
    next.advance();
  }
  /// By those who multiply: before they read a tile, and once they have.
  TANDEM_DEVICE void wait_full() const { wait_phase(full(), next.parity); }
  TANDEM_DEVICE void advance() { next.advance(); }
};

/// Calls `use(part)` for those of `parts` that this block has: neighbours run at the same time, and
/// every other time blocks take theirs in the opposite order, so that who had much to do gets
/// little where what comes first is more.
template <typename Use>
TANDEM_DEVICE void for_own_parts(int32_t parts, const Use& use) {
  const auto blocks = static_cast<int32_t>(gridDim.x);
  const auto own = static_cast<int32_t>(blockIdx.x);
  int32_t turn = own;
#pragma unroll 1
  for (int32_t first = 0; first < parts; first += blocks) {
    if (first + turn < parts) use(first + turn);
    turn = blocks - 1 - turn;
  }
}

/// By a warp that multiplies: lets the tile be filled again whose barrier this is, once all of its
/// lanes have read what they read themselves. Nothing that is read is what the tile is filled with
/// next, by the memory model of the PTX ISA: a lane's reads come before __syncwarp(), which orders
/// them before what follows it in any of these lanes, and so before the arrival of the one; that
/// releases, at the scope of the block, what is ordered before it (`mbarrier.arrive` does where it
/// says nothing else); and who copies has waited for the end of the phase, to which every warp
/// arrives, before the first byte is written, which acquires (`mbarrier.try_wait`, likewise). Reads
/// by products are over where these have been waited for (`wgmma.wait_group`), which their warps do
/// before they arrive.
TANDEM_DEVICE void release(uint32_t empty) {
  __syncwarp();
  if (threadIdx.x % 32 == 0) arrive(empty);
}

/// Four floats, or zeros where there are none.
TANDEM_DEVICE float4 load_quad(const float* from, bool there) {
  float4 quad = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %5, 0;\n"
      "@p ld.global.L1::no_allocate.v4.f32 {%0, %1, %2, %3}, [%4];\n"
      "}\n"
      : "+f"(quad.x), "+f"(quad.y), "+f"(quad.z), "+f"(quad.w)
      : "l"(from), "r"(static_cast<int32_t>(there)));
  return quad;
}

/// By those who copy, of whom this is number `thread`: `held` quads of rows of `depth` numbers on
/// their way to a tile of `rows` rows. What is under way at once decides how fast rows come.
template <Arithmetic kind, int depth, int rows, int held>
class CopiedRows {
 public:
  static constexpr int kInRow = depth / 4;          // threads
  static constexpr int kApart = kCopiers / kInRow;  // rows of a thread
  static constexpr int kRows = kApart * held;       // of a piece
  static constexpr int kPieces = rows / kRows;
  static_assert(rows % kRows == 0 && (kApart == 4 || kApart == 8));

  /// Starts to load a piece from `row` on, zeros where there are no rows.
  TANDEM_DEVICE void load(const HeadRows& from, int32_t row, int thread) {
    const int own = thread / kInRow;
    const int there = static_cast<int>(from.rows) - row - own;
    const float* data = from.data + int64_t{row + own} * from.stride + thread % kInRow * 4;
    const int64_t apart = from.stride * kApart;
#pragma unroll
    for (int i = 0; i < held; ++i) {
      quads_[i] = load_quad(data, i * kApart < there);
      data += apart;
    }
  }
  /// Rounds it and writes it to the tile, as piece `piece`.
  TANDEM_DEVICE void store(uint32_t tile, int piece, int thread) const {
    const int column = thread % kInRow * 4;
    const uint32_t to = tile + static_cast<uint32_t>(piece * kRows * kBlockRowBytes) +
                        static_cast<uint32_t>(column / kBlockNumbers * rows * kBlockRowBytes) +
                        swizzled_place(static_cast<uint32_t>(thread / kInRow),
                                       static_cast<uint32_t>(column % kBlockNumbers) * 2);
#pragma unroll
    for (int i = 0; i < held; ++i) {
      // rows that are 4 apart are swizzled by numbers that are, too
      const uint32_t flip = kApart == 4 && i % 2 == 1 ? 4 * 16 : 0;
      store_words((to ^ flip) + static_cast<uint32_t>(i * kApart * kBlockRowBytes),
                  to_pair<kind>(quads_[i].x, quads_[i].y), to_pair<kind>(quads_[i].z, quads_[i].w));
    }
  }

 private:
  float4 quads_[held];
};

/// `rows` rows from `row` on to the tile `to`, in pieces of `held` quads a thread. `wait()` is
/// called before the first of them is written, when loads are under way.
template <Arithmetic kind, int depth, int rows, int held = 8, typename Wait>
TANDEM_DEVICE void copy_rows(uint32_t to, const HeadRows& from, int32_t row, int thread,
                             const Wait& wait) {
  using Copied = CopiedRows<kind, depth, rows, held>;
#pragma unroll 1
  for (int piece = 0; piece < Copied::kPieces; ++piece) {
    Copied copied;
    copied.load(from, row + piece * Copied::kRows, thread);
    if (piece == 0) wait();
    copied.store(to, piece, thread);
  }
}

/// The same rows of two operands, one tile behind the other, both under way at once.
template <Arithmetic kind, int depth, int rows, typename Wait>
TANDEM_DEVICE void copy_both(uint32_t to, uint32_t apart, const HeadRows& first,
                             const HeadRows& second, int32_t row, int thread, const Wait& wait) {
  using Copied = CopiedRows<kind, depth, rows, 8>;
#pragma unroll 1
  for (int piece = 0; piece < Copied::kPieces; ++piece) {
    Copied a;
    Copied b;
    a.load(first, row + piece * Copied::kRows, thread);
    b.load(second, row + piece * Copied::kRows, thread);
    if (piece == 0) wait();
    a.store(to, piece, thread);
    b.store(to + apart, piece, thread);
  }
}

/// Begins products = a b^T over `depth` numbers; `a` and `b` are tiles of `a_rows` and `b_rows`,
/// the former from this group's 64 rows on.
template <Arithmetic kind, int depth, int a_rows, int b_rows>
TANDEM_DEVICE void begin_along(float (&products)[b_rows / kTileColumns][4], uint32_t a,
                               uint32_t b) {
#pragma unroll
  for (int block = 0; block < depth / kBlockNumbers; ++block) {
    const uint64_t left = swizzled_rows(a + block * a_rows * kBlockRowBytes);
    const uint64_t right = swizzled_rows(b + block * b_rows * kBlockRowBytes);
#pragma unroll
    for (int step = 0; step < kBlockNumbers / 16; ++step) {
      const auto on = static_cast<uint64_t>(step) * kNextDepth;
      multiply_along<kind>(products, left + on, right + on, block > 0 || step > 0);
    }
  }
}

/// Begins sums += a b: `words` of a, and the tile `b` of as many rows as a has columns.
template <Arithmetic kind, int steps, int tiles>
TANDEM_DEVICE void begin_across(float (&sums)[tiles][4], const uint32_t (&words)[steps][4],
                                uint32_t b) {
  const uint64_t right = swizzled_across(b, steps * 16 * kBlockRowBytes);
#pragma unroll
  for (int step = 0; step < steps; ++step) {
    add_product_across<kind>(sums, words[step], right + static_cast<uint64_t>(step) * kNextRows);
  }
}

/// Rounds a warp's sums to the words of a left factor.
template <Arithmetic kind, int steps>
TANDEM_DEVICE void round_words(uint32_t (&words)[steps][4], const float (&sums)[2 * steps][4]) {
#pragma unroll
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float (&pair)[4] = sums[2 * step + i / 2];
      words[step][i] = to_pair<kind>(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
    }
  }
}

}  // namespace tandem::cuda

#endif
