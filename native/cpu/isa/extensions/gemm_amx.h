// Register kernels on the tile registers of AMX: tiles of 16 rows of 16 words, of which four hold a
// piece of C of 32 rows and 32 columns. A tile of A is 16 rows of a packed A, one of B is 16 rows
// of a packed panel, just as the blocking lays them out. The instructions are behind a class, so
// that the layout is tested in software where the processor has none of them.
#pragma once

#include "cpu/isa/extensions/split_float.h"
#include "cpu/isa/gemm_finish.h"
#include "cpu/tile_config.h"

namespace tandem::cpu::TANDEM_ISA_NS {

static_assert(kLanes * 4 == kTileBytes);

// Bytes between the rows of a piece of C while it is in memory.
inline constexpr int kSumsRow = 2 * kTileBytes, kSumsBytes = 2 * kTileRows * kSumsRow;

// C is in tiles 0 to 3 (two rows of two), A in 4 and 5, B in 6 and 7. The words of B come once for
// each panel of A, which stays in the L1 because they pass it by.
template <typename Tiles, int rows, int columns>
TANDEM_INLINE void multiply_step(Tiles& tiles, const char* a, int64_t a_row, const char* b,
                                 int64_t b_k) {
  tiles.template load_once<6>(b, b_k);
  tiles.template load<4>(a, a_row);
  tiles.template multiply<0, 4, 6>();
  if constexpr (columns > 1) {
    tiles.template load_once<7>(b + kTileBytes, b_k);
    tiles.template multiply<1, 4, 7>();
  }
  if constexpr (rows > 1) {
    tiles.template load<5>(a + kTileRows * a_row, a_row);
    tiles.template multiply<2, 5, 6>();
    if constexpr (columns > 1) tiles.template multiply<3, 5, 7>();
  }
}

template <typename Tiles, int rows, int part>
TANDEM_INLINE void load_part_of_a(Tiles& tiles, const char* a, int64_t a_row) {
  tiles.template load<4>(a + part * kTileBytes, a_row);
  if constexpr (rows > 1) tiles.template load<5>(a + part * kTileBytes + kTileRows * a_row, a_row);
}

template <typename Tiles, int columns, int part>
TANDEM_INLINE void load_part_of_b(Tiles& tiles, const char* b, int64_t line) {
  tiles.template load_once<6>(b + part * kTileRows * line, line);
  if constexpr (columns > 1)
    tiles.template load_once<7>(b + part * kTileRows * line + kTileBytes, line);
}

template <typename Tiles, int rows, int columns>
TANDEM_INLINE void multiply_part(Tiles& tiles) {
  tiles.template multiply<0, 4, 6>();
  if constexpr (columns > 1) tiles.template multiply<1, 4, 7>();
  if constexpr (rows > 1) tiles.template multiply<2, 5, 6>();
  if constexpr (rows > 1 && columns > 1) tiles.template multiply<3, 5, 7>();
}

// The products of the parts of floats but for those of a third part with a second or third one,
// which are less than what a float rounds. In an order in which each part of B comes once.
template <typename Tiles, int rows, int columns>
TANDEM_INLINE void multiply_parts(Tiles& tiles, const char* a, int64_t a_row, const char* b,
                                  int64_t b_k) {
  const int64_t line = b_k / kFloatParts;
  load_part_of_a<Tiles, rows, 0>(tiles, a, a_row);
  load_part_of_b<Tiles, columns, 2>(tiles, b, line);
  multiply_part<Tiles, rows, columns>(tiles);
  load_part_of_b<Tiles, columns, 1>(tiles, b, line);
  multiply_part<Tiles, rows, columns>(tiles);
  load_part_of_a<Tiles, rows, 1>(tiles, a, a_row);
  multiply_part<Tiles, rows, columns>(tiles);
  load_part_of_b<Tiles, columns, 0>(tiles, b, line);
  multiply_part<Tiles, rows, columns>(tiles);
  load_part_of_a<Tiles, rows, 2>(tiles, a, a_row);
  multiply_part<Tiles, rows, columns>(tiles);
  load_part_of_a<Tiles, rows, 0>(tiles, a, a_row);
  multiply_part<Tiles, rows, columns>(tiles);
}

template <typename Tiles, int rows, int columns>
TANDEM_INLINE void multiply_words(Tiles& tiles, const char* a, int64_t a_row, const char* b,
                                  int64_t b_k) {
  if constexpr (Tiles::kSplits)
    multiply_parts<Tiles, rows, columns>(tiles, a, a_row, b, b_k);
  else
    multiply_step<Tiles, rows, columns>(tiles, a, a_row, b, b_k);
}

// Sums that have been stored by the tiles and not been looked at: that would wait for them.
struct UncheckedSums {
  char* sums;  // null: there are none
  int64_t sums_row;
  int rows, vectors;
  // what they are sums of, as in MicroArgs
  const char* a;
  int64_t a_row, a_k;
  const char* b;
  int64_t b_k, k;
};

TANDEM_INLINE bool are_finite(const UncheckedSums& t) {
  Lanes zeros[2] = {spread(0.0F), spread(0.0F)};
  for (int i = 0; i < t.rows; ++i)
    for (int j = 0; j < t.vectors; ++j) {
      const Lanes sum = as_lanes(load_words(t.sums + i * t.sums_row + j * kTileBytes));
      zeros[j] = fma(sum, spread(0.0F), zeros[j]);
    }
  return _mm512_cmp_ps_mask(zeros[0].v, zeros[1].v, _CMP_EQ_OQ) == 0xffff;
}

// The floats that the low (0) or high (1) halves of words are parts of.
TANDEM_INLINE Lanes join_parts(const Words (&parts)[kFloatParts], int half) {
  const auto value = [&](int p) {
    return as_lanes(half == 0 ? shl<16>(parts[p])
                              : parts[p] & spread_word(static_cast<int32_t>(0xffff0000)));
  };
  // The first part and the second one alone may be more than the largest float.
  const Lanes first = value(0), sum = first + (value(1) + value(2));
  const __mmask16 finite = _mm512_cmp_ps_mask((first - first).v, (first - first).v, _CMP_ORD_Q);
  return {_mm512_mask_blend_ps(finite, first.v, sum.v)};
}

// The sums of a piece by multiply-adds of its floats: infinity times a part that is zero is no
// number, though infinity times the float is infinite. Such sums are rare enough to be slow.
[[gnu::noinline]] static void sum_floats(const UncheckedSums& t) {
  const int64_t line = t.b_k / kFloatParts;
  for (int i = 0; i < t.rows; ++i)
    for (int j = 0; j < t.vectors; ++j) {
      const int64_t at = j * kTileBytes;
      Lanes sum = spread(0.0F);
      for (int64_t w = 0; w < t.k; ++w) {
        const int64_t tile = w / kTileRows * kTileRows, word = w % kTileRows;
        Words a[kFloatParts], b[kFloatParts];
        for (int p = 0; p < kFloatParts; ++p) {
          a[p] = spread_from(t.a + i * t.a_row + tile * t.a_k + p * kTileBytes + word * 4);
          b[p] = load_words(t.b + tile * t.b_k + (p * kTileRows + word) * line + at);
        }
        for (int half = 0; half < 2; ++half)
          sum = fma(join_parts(a, half), join_parts(b, half), sum);
      }
      store_words(t.sums + i * t.sums_row + at, as_words(sum));
    }
}

TANDEM_INLINE void check_sums(UncheckedSums& t) {
  if (t.sums == nullptr) return;
  if (!are_finite(t)) sum_floats(t);
  t.sums = nullptr;
}

template <typename Tiles, int rows, int columns>
TANDEM_INLINE void load_sums(Tiles& tiles, const char* sums, int64_t sums_row, int64_t next) {
  tiles.template load<0>(sums, sums_row);
  if constexpr (columns > 1) tiles.template load<1>(sums + kTileBytes, sums_row);
  if constexpr (rows > 1) tiles.template load<2>(sums + next, sums_row);
  if constexpr (rows > 1 && columns > 1) tiles.template load<3>(sums + next + kTileBytes, sums_row);
}

template <typename Tiles, int rows, int columns>
TANDEM_INLINE void store_sums(Tiles& tiles, char* sums, int64_t sums_row) {
  char* const next = sums + kTileRows * sums_row;
  tiles.template store<0>(sums, sums_row);
  if constexpr (columns > 1) tiles.template store<1>(sums + kTileBytes, sums_row);
  if constexpr (rows > 1) tiles.template store<2>(next, sums_row);
  if constexpr (rows > 1 && columns > 1) tiles.template store<3>(next + kTileBytes, sums_row);
}

template <typename Tiles, int rows, int columns>
TANDEM_INLINE void begin_sums(Tiles& tiles, const MicroArgs& t) {
  if (t.earlier) {
    load_sums<Tiles, rows, columns>(tiles, t.earlier, kSumsRow, kTileRows * kSumsRow);
    return;
  }
  if constexpr (Tiles::kIntegers) {
    if (t.a_zero != 0) {
      // What the zero point of A takes from the sums of each column, the same for all rows.
      Words start[2] = {start_integers(t, 0), spread_word(0)};
      if constexpr (columns > 1) start[1] = start_integers(t, kLanes);
      load_sums<Tiles, rows, columns>(tiles, reinterpret_cast<const char*>(start), 0, 0);
      return;
    }
  }
  tiles.template zero<0>();
  if constexpr (columns > 1) tiles.template zero<1>();
  if constexpr (rows > 1) tiles.template zero<2>();
  if constexpr (rows > 1 && columns > 1) tiles.template zero<3>();
}

// Columns that end within a second vector, and what depends on the row, are not worth code of their
// own.
template <typename Tiles>
TANDEM_INLINE bool is_plain(const MicroArgs& t) {
  if (t.columns > kLanes && t.columns < 2 * kLanes) return false;
  return !Tiles::kIntegers || !(t.add || depends_on_row(t) || t.c_type == GEMM_TO_S32);
}

// Whether tiles are what C becomes.
template <typename Tiles, int rows, int columns>
TANDEM_INLINE bool is_product_alone(const MicroArgs& t) {
  if (t.rows != rows * kTileRows || t.columns != columns * kLanes) return false;
  if (Tiles::kIntegers) return t.c_type == GEMM_TO_S32 && !t.row_zero && !t.column_zero;
  return t.c_type == GEMM_TO_F32 && !t.add && !t.bias && t.floor != 0.0F;
}

// The epilogue of the rows from `first` on.
template <typename Tiles>
TANDEM_INLINE void finish_now(MicroArgs t, const char* sums, int first) {
  t.rows -= first;
  t.c += first * t.c_row;
  if (t.add) t.add += first * t.add_row;
  if (Tiles::kIntegers)
    finish_integer_sums(t, sums + first * kSumsRow, 2 * kLanes);
  else
    finish_float_sums(t, sums + first * kSumsRow, 2 * kLanes);
}

// Rows of a step of a late epilogue.
inline constexpr int kLateRows = 8;

// A piece whose epilogue is done in steps while the next one is multiplied, so that neither waits
// for the other.
struct LatePiece {
  char sums[2][kSumsBytes];  // of this piece and of the next one
  int turn, left;            // which of the two, and the rows that are to do
  UncheckedSums unchecked;   // of floats that were split
  const char* next;          // the first of them
  MicroArgs args;            // from that row on
  Lanes scale[2], bias[2];   // of sums that become bytes
  bool bounded;
};

template <typename Tiles>
TANDEM_INLINE void postpone(LatePiece& late, const MicroArgs& t, const char* sums, int rows) {
  late.turn = 1 - late.turn;
  late.left = rows;
  late.next = sums;
  late.args = t;
  if (!Tiles::kIntegers || t.c_type == GEMM_TO_F32 || t.columns <= kLanes) return;
  load_scale<2>(t, late.scale, late.bias);
  late.bounded = stay_integers<2>(late.scale, late.bias);
}

template <typename Sum, int N>
TANDEM_INLINE void read_sums(const char* sums, Sum (&acc)[kLateRows][N]) {
#pragma GCC unroll 8
  for (int i = 0; i < kLateRows; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < N; ++j) {
      const Words sum = load_words(sums + i * kSumsRow + j * kTileBytes);
      std::memcpy(&acc[i][j], &sum, sizeof sum);
    }
}

// Some rows of it, which are N vectors wide.
template <typename Tiles, int N>
TANDEM_INLINE void finish_late(const LatePiece& late) {
  const MicroArgs& t = late.args;
  if constexpr (Tiles::kIntegers) {
    Words acc[kLateRows][N];
    read_sums(late.next, acc);
    if (N == 1 || t.c_type == GEMM_TO_F32)
      finish_integers(t, acc);
    else
      pack_sums(t, acc, late.scale, late.bias, [&] { return late.bounded; });
  } else {
    Lanes acc[kLateRows][N];
    read_sums(late.next, acc);
    finish_floats<typename Tiles::Rounding>(t, acc);
  }
}

template <typename Tiles>
TANDEM_INLINE void finish_step(LatePiece& late) {
  MicroArgs& t = late.args;
  if (t.columns > kLanes)
    finish_late<Tiles, 2>(late);
  else
    finish_late<Tiles, 1>(late);
  t.c += kLateRows * t.c_row;
  if (t.add) t.add += kLateRows * t.add_row;
  late.next += kLateRows * kSumsRow;
  late.left -= kLateRows;
}

// Stores the sums of a piece.
template <typename Tiles, int rows, int columns>
TANDEM_INLINE void keep_sums(Tiles& tiles, const MicroArgs& t, LatePiece& late, char* sums,
                             int64_t sums_row) {
  store_sums<Tiles, rows, columns>(tiles, sums, sums_row);
  if constexpr (Tiles::kSplits)
    late.unchecked = {sums, sums_row, t.rows, columns, t.a, t.a_row, t.a_k, t.b, t.b_k, t.k};
}

template <typename Tiles, int rows, int columns>
static void amx_micro(const MicroArgs& t) {
  Tiles tiles;
  LatePiece& late = *static_cast<LatePiece*>(t.state);
  begin_sums<Tiles, rows, columns>(tiles, t);
  const char *a = t.a, *b = t.b;
  const int64_t a_row = t.a_row, b_k = t.b_k, a_step = kTileRows * t.a_k;
  for (int64_t left = t.k; left > 0; left -= kTileRows) {
    multiply_words<Tiles, rows, columns>(tiles, a, a_row, b, b_k);
    a += a_step;
    b += kTileRows * b_k;
    if constexpr (Tiles::kSplits) check_sums(late.unchecked);
    if (late.left > 0) finish_step<Tiles>(late);
  }
  if (t.tail) {
    b -= t.tail_back * b_k;
    multiply_words<Tiles, rows, columns>(tiles, t.tail, t.tail_row, b, b_k);
  }
  if (t.later) {
    keep_sums<Tiles, rows, columns>(tiles, t, late, t.later, kSumsRow);
    return;
  }
  while (late.left > 0) finish_step<Tiles>(late);
  if (is_product_alone<Tiles, rows, columns>(t)) {
    keep_sums<Tiles, rows, columns>(tiles, t, late, t.c, t.c_row);
    return;
  }
  char* sums = late.sums[late.turn];
  keep_sums<Tiles, rows, columns>(tiles, t, late, sums, kSumsRow);
  const int later = is_plain<Tiles>(t) ? t.rows / kLateRows * kLateRows : 0;
  if (later < t.rows && Tiles::kSplits) check_sums(late.unchecked);
  if (later < t.rows) finish_now<Tiles>(t, sums, later);
  if (later > 0) postpone<Tiles>(late, t, sums, later);
}

// What the instructions do.
template <bool integers>
class SoftwareTiles {
 public:
  using Rounding = TANDEM_ISA_NS::Rounding;
  static constexpr bool kIntegers = integers, kSplits = false;

  template <int tile>
  void zero() {
    std::memset(memory_[tile], 0, sizeof memory_[tile]);
  }
  template <int tile>
  void load(const char* p, int64_t stride) {
    for (int i = 0; i < kTileRows; ++i) std::memcpy(row(tile, i), p + i * stride, kTileBytes);
  }
  template <int tile>
  void load_once(const char* p, int64_t stride) {
    load<tile>(p, stride);
  }
  template <int tile>
  void store(char* p, int64_t stride) {
    for (int i = 0; i < kTileRows; ++i) std::memcpy(p + i * stride, row(tile, i), kTileBytes);
  }
  // C[i][j] += the products of the elements of word A[i][k] and of word B[k][j], for all k.
  template <int c, int a, int b>
  void multiply() {
    for (int i = 0; i < kTileRows; ++i)
      for (int j = 0; j < kTileRows; ++j) {
        if constexpr (integers)
          add_integers(row(c, i) + 4 * j, row(a, i), row(b, 0) + 4 * j);
        else
          add_floats(row(c, i) + 4 * j, row(a, i), row(b, 0) + 4 * j);
      }
  }

 private:
  char* row(int tile, int i) { return memory_[tile][i]; }

  static void add_integers(char* c, const char* a, const char* b) {
    uint32_t sum;
    std::memcpy(&sum, c, 4);
    for (int k = 0; k < kTileRows; ++k, a += 4, b += kTileBytes)
      for (int e = 0; e < 4; ++e)
        sum += static_cast<uint32_t>(static_cast<uint8_t>(a[e]) * static_cast<int8_t>(b[e]));
    std::memcpy(c, &sum, 4);
  }
  // Sums of the first and of the second elements of all words, which C gets together.
  static void add_floats(char* c, const char* a, const char* b) {
    float sum, sums[2] = {};
    std::memcpy(&sum, c, 4);
    for (int k = 0; k < kTileRows; ++k, a += 4, b += kTileBytes)
      for (int e = 0; e < 2; ++e)
        sums[e] = __builtin_fmaf(element(a + 2 * e), element(b + 2 * e), sums[e]);
    sum += sums[0] + sums[1];
    std::memcpy(c, &sum, 4);
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

// Tiles that multiply floats by their parts.
template <typename Tiles>
struct Splitting : Tiles {
  static constexpr bool kSplits = true;
};

// Tiles that have rows to multiply decide the kernel, for widths of one and of two vectors.
struct AmxKernels {
  MicroKernel micro[4 * 2 * kTileRows];
};
template <typename Tiles>
static constexpr AmxKernels amx_kernels() {
  AmxKernels all{};
  for (int i = 0; i < kTileRows; ++i) {
    all.micro[i] = amx_micro<Tiles, 1, 1>;
    all.micro[kTileRows + i] = amx_micro<Tiles, 2, 1>;
    all.micro[2 * kTileRows + i] = amx_micro<Tiles, 1, 2>;
    all.micro[3 * kTileRows + i] = amx_micro<Tiles, 2, 2>;
  }
  return all;
}

// No epilogue is late.
static void begin_pieces(void* state) {
  auto& late = *static_cast<LatePiece*>(state);
  late.turn = late.left = 0;
  late.unchecked.sums = nullptr;
}
static void settle_pieces(void* state) { check_sums(static_cast<LatePiece*>(state)->unchecked); }
template <typename Tiles>
static void flush_pieces(void* state) {
  auto& late = *static_cast<LatePiece*>(state);
  if constexpr (Tiles::kSplits) check_sums(late.unchecked);
  while (late.left > 0) finish_step<Tiles>(late);
}

// Rows that tiles of bytes take longer for than vectors. Products of bfloat16 would be rounded
// otherwise, and gain little.
inline constexpr int kFewRows = 4;

static constexpr GemmKernels amx_family(const char* name, bool (*available)(), GemmType type,
                                        const MicroKernel* micro, const GemmRounding* rounding,
                                        const GemmKernels* for_few_rows, void (*begin)(void*),
                                        void (*flush)(void*), void (*end)()) {
  return {.name = name,
          .available = available,
          .type = type,
          .group = type == GEMM_BF16 ? 2 : 4,
          .k_step = kTileRows,
          // By a zero of A, infinity would be no number.
          .fills_k = type == GEMM_BF16,
          .steps_per_word = 0.125,
          .a_word = 4,
          .b_word = 4,
          .a_in_place = true,
          .a_panels = false,
          .rounding = rounding,
          .panel_rows = 2 * kTileRows,
          .wide4_rows = 0,
          .wide8_rows = 0,
          .best_rows = 2 * kTileRows,
          .row_unit = kTileRows,
          .splits = false,
          .keeps_sums = true,
          .micro = micro,
          .alike = nullptr,
          .few_rows = kFewRows,
          .for_few_rows = for_few_rows,
          .state_bytes = sizeof(LatePiece),
          .begin = begin,
          .settle = nullptr,
          .flush = flush,
          .end = end};
}

// Floats by their parts: what multiplies a word of two floats six times.
static constexpr GemmKernels amx_float_family(const char* name, bool (*available)(),
                                              const MicroKernel* micro, void (*begin)(void*),
                                              void (*flush)(void*), void (*end)()) {
  GemmKernels kernels =
      amx_family(name, available, GEMM_F32, micro, &kSplitting, nullptr, begin, flush, end);
  kernels.group = 2;
  kernels.fills_k = true;
  kernels.steps_per_word = 0.75;
  kernels.a_word = kernels.b_word = 4 * kFloatParts;
  kernels.splits = true;
  kernels.keeps_sums = false;
  kernels.settle = settle_pieces;
  return kernels;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
