// Which products of floats are made of bfloat16 parts, and which of those by a few tiles that share
// nothing.
#include "cpu/isa/gemm_split.h"

#include "cpu/float_tiles.h"
#include "cpu/isa/gemm_families.h"
#include "cpu/tile_config.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

// Elements of C, and k, of products that are not worth sharing what is split of them.
constexpr int64_t kAloneFloats = 160 * 1024, kLongestAlone = 384, kAloneTiles = 4;
// Multiply-adds of packed weights that are worth it: predictions come one by one, and tiles that
// have not been used for a while are slow for some 0.1 ms.
constexpr int64_t kSplitPacked = int64_t{32} << 20;
// What products of split floats cost: multiply-adds of floats in a cycle, as they are; cycles of a
// step of a tile of C, and beside its steps; of splitting a number, and of reading it where another
// thread has split it; of waiting for that thread; and by how much all that has to be faster.
constexpr double kFloatsPerCycle = 25, kCyclesPerStep = 113, kCyclesPerTile = 100;
constexpr double kCyclesPerSplit = 0.7, kCyclesPerShared = 0.5, kCyclesToShare = 20000;
constexpr double kWorthSplitting = 1.05;

}  // namespace

const GemmKernels* splitting_kernels([[maybe_unused]] const GemmDesc& d) {
#if defined(TANDEM_ISA_AVX512)
  if (d.type != GEMM_F32) return nullptr;
  // Such callers pack B for each call, and would split A again as often.
  if (d.b_packed && d.one_block) return nullptr;
  if (d.b_packed && d.m * d.n * d.k < kSplitPacked) return nullptr;
  const auto floats = static_cast<double>(d.m) * static_cast<double>(round_up(d.n, kLanes)) *
                      static_cast<double>(d.k) / kFloatsPerCycle;
  const auto tiles = static_cast<double>(ceil_div(d.m, kTileRows) * ceil_div(d.n, kTileRows));
  const auto split = static_cast<double>((d.m + d.n) * d.k);
  const double steps = kCyclesPerStep * static_cast<double>(ceil_div(d.k, 2 * kTileRows));
  const double alone = tiles * (steps + kCyclesPerTile) + kCyclesPerSplit * split;
  const double cycles = alone / 2 + kCyclesPerShared * split + kCyclesToShare;
  const bool faster = kWorthSplitting * cycles < floats / 2 && float_tiles();
  // Last, since it asks the system for the tiles.
  return faster && kF32AmxKernels.available() ? &kF32AmxKernels : nullptr;
#else
  return nullptr;
#endif
}

bool splits_alone(const GemmDesc& d) {
  const bool one = d.batch[0] * d.batch[1] == 1 && !d.b_packed && !d.one_block;
  const bool small = d.k <= kLongestAlone && d.m * d.n <= kAloneFloats;
  return d.kernels->splits && one && small;
}

void choose_alone(GemmPlan& p) {
  const GemmDesc& d = p.desc;
  int64_t best = -1;
  for (int64_t rows = 1; rows <= kAloneTiles; rows *= 2) {
    const int64_t columns = kAloneTiles / rows;
    const int64_t split = rows * d.n + columns * d.m;
    if (rows > p.row_panels.count || columns > p.col_panels || (best >= 0 && split >= best))
      continue;
    best = split;
    p.row_blocks.count = rows;
    p.col_blocks.count = columns;
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
