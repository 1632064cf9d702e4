// Register kernels on the tile registers of AMX: tiles of 16 rows of 16 words, of which four hold a
// piece of C of 32 rows and 32 columns. A tile of A is 16 rows of a packed A, one of B is 16 rows
// of a packed panel, just as the blocking lays them out. The instructions are behind a class, so
// that the layout is tested in software where the processor has none of them.
#pragma once

#include "cpu/isa/gemm_finish.h"
#include "cpu/tile_config.h"

namespace tandem::cpu::TANDEM_ISA_NS {

static_assert(kLanes * 4 == kTileBytes);

// C is in tiles 0 to 3 (two rows of two), A in 4 and 5, B in 6 and 7.
template <typename Tiles>
static void amx_micro(const MicroArgs& t) {
  Tiles tiles;
  const bool two_rows = t.rows > kTileRows, two_columns = t.columns > kLanes;
  // What the zero point of A takes from the sums of each column, the same for all rows.
  Words start[2] = {spread_word(0), spread_word(0)};
  if constexpr (Tiles::kIntegers) {
    start[0] = start_integers(t, 0);
    if (two_columns) start[1] = start_integers(t, kLanes);
  }
  const auto* row = reinterpret_cast<const char*>(start);
  tiles.template load<0>(row, 0);
  tiles.template load<1>(row + kTileBytes, 0);
  tiles.template load<2>(row, 0);
  tiles.template load<3>(row + kTileBytes, 0);
  for (int64_t k = 0; k < t.k; k += kTileRows) {
    const char* a = t.a + k * 4;
    const char* b = t.b + k * t.b_k;
    tiles.template load<4>(a, t.a_row);
    tiles.template load<6>(b, t.b_k);
    tiles.template multiply<0, 4, 6>();
    if (two_columns) {
      tiles.template load<7>(b + kTileBytes, t.b_k);
      tiles.template multiply<1, 4, 7>();
    }
    if (!two_rows) continue;
    tiles.template load<5>(a + kTileRows * t.a_row, t.a_row);
    tiles.template multiply<2, 5, 6>();
    if (two_columns) tiles.template multiply<3, 5, 7>();
  }
  alignas(64) char sums[2 * kTileRows * 2 * kTileBytes];
  constexpr int kRow = 2 * kTileBytes;
  tiles.template store<0>(sums, kRow);
  tiles.template store<1>(sums + kTileBytes, kRow);
  tiles.template store<2>(sums + kTileRows * kRow, kRow);
  tiles.template store<3>(sums + kTileRows * kRow + kTileBytes, kRow);
  if constexpr (Tiles::kIntegers)
    finish_integer_sums(t, sums, 2 * kLanes);
  else
    finish_float_sums(t, sums, 2 * kLanes);
}

// What the instructions do.
template <bool integers>
class SoftwareTiles {
 public:
  static constexpr bool kIntegers = integers;

  template <int tile>
  void load(const char* p, int64_t stride) {
    for (int i = 0; i < kTileRows; ++i) std::memcpy(row(tile, i), p + i * stride, kTileBytes);
  }
  template <int tile>
  void store(char* p, int64_t stride) {
    for (int i = 0; i < kTileRows; ++i) std::memcpy(p + i * stride, row(tile, i), kTileBytes);
  }
  // C[i][j] += the products of the elements of word A[i][k] and of word B[k][j], for all k.
  template <int c, int a, int b>
  void multiply() {
    for (int i = 0; i < kTileRows; ++i)
      for (int k = 0; k < kTileRows; ++k)
        for (int j = 0; j < kTileRows; ++j)
          add_product(row(c, i) + 4 * j, row(a, i) + 4 * k, row(b, k) + 4 * j);
  }

 private:
  char* row(int tile, int i) { return memory_[tile][i]; }

  static void add_product(char* c, const char* a, const char* b) {
    if constexpr (integers) {
      uint32_t sum;
      std::memcpy(&sum, c, 4);
      for (int e = 0; e < 4; ++e)
        sum += static_cast<uint32_t>(static_cast<uint8_t>(a[e]) * static_cast<int8_t>(b[e]));
      std::memcpy(c, &sum, 4);
    } else {
      float sum;
      std::memcpy(&sum, c, 4);
      for (int e = 0; e < 2; ++e) sum += element(a + 2 * e) * element(b + 2 * e);
      std::memcpy(c, &sum, 4);
    }
  }
  static float element(const char* p) {
    uint16_t half;
    std::memcpy(&half, p, 2);
    const uint32_t bits = static_cast<uint32_t>(half) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  }

  alignas(64) char memory_[8][kTileRows][kTileBytes];
};

// One kernel serves all heights, and widths of one and of two vectors.
struct AmxKernels {
  MicroKernel micro[4 * 2 * kTileRows];
};
template <typename Tiles>
static constexpr AmxKernels amx_kernels() {
  AmxKernels all{};
  for (int i = 0; i < 2 * 2 * kTileRows; ++i) all.micro[i] = amx_micro<Tiles>;
  return all;
}

static constexpr GemmKernels amx_family(const char* name, bool (*available)(), GemmType type,
                                        const MicroKernel* micro, void (*begin)(), void (*end)()) {
  return {.name = name,
          .available = available,
          .type = type,
          .group = type == GEMM_BF16 ? 2 : 4,
          .k_step = kTileRows,
          .steps_per_word = 0.125,
          .a_word = 4,
          .b_word = 4,
          .a_in_place = false,  // a tile has 16 rows, whether A has them or not
          .a_panels = false,
          .rounding = type == GEMM_BF16 ? &kBf16Rounding : nullptr,
          .panel_rows = 2 * kTileRows,
          .wide4_rows = 0,
          .wide8_rows = 0,
          .best_rows = 2 * kTileRows,
          .micro = micro,
          .begin = begin,
          .end = end};
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
