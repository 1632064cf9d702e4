// Operands of products of floats that are sums of three bfloat16: x = x0 + x1 + x2 without error,
// since each takes eight of the 24 bits. x0 is cut off, so that no finite number becomes infinity,
// and x1 rounded, which leaves half as much to x2, of either sign. Where x0 is infinite or no
// number, so are the others.
//
// A word is two floats and three words of pairs: words of a tile of k lie part by part. Static, so
// that extensions of an instruction set do not share code.
#pragma once

#include "cpu/isa/gemm_round.h"
#include "cpu/tile_config.h"

namespace tandem::cpu::TANDEM_ISA_NS {

inline constexpr int kFloatParts = 3;

struct FloatParts {
  Lanes part[kFloatParts];
};

TANDEM_INLINE FloatParts split(Lanes x) {
  const Words high = spread_word(static_cast<int32_t>(0xffff0000));
  const Lanes first = as_lanes(as_words(x) & high), rest = x - first;
  const Lanes second = as_lanes((as_words(rest) + spread_word(0x8000)) & high);
  return {first, second, rest - second};
}

// Words of neighbours, those of `first` before those of `second`, which are upper halves.
TANDEM_INLINE Words join_neighbours(Lanes first, Lanes second) {
  alignas(64) static constexpr uint16_t kOdd[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21,
                                                    23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43,
                                                    45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  return {
      _mm512_permutex2var_epi16(as_words(first).v, _mm512_load_si512(kOdd), as_words(second).v)};
}

// Word j of elements j of both, which are upper halves but for numbers too small to be normal: of
// those the lower half must not get into the neighbour.
TANDEM_INLINE Words join_pairs(Lanes low, Lanes high) {
  const Words upper = spread_word(static_cast<int32_t>(0xffff0000));
  return shr_unsigned<16>(as_words(low)) | (as_words(high) & upper);
}

// The parts of words of neighbours, of which there are `left` elements.
TANDEM_INLINE void split_neighbours(const float* x, int64_t left, Words (&words)[kFloatParts]) {
  const bool whole = left >= 2 * kLanes;
  const FloatParts first = split(whole ? load_lanes(x) : load_lanes(x, lanes_of(left)));
  const FloatParts second = split(whole           ? load_lanes(x + kLanes)
                                  : left > kLanes ? load_lanes(x + kLanes, lanes_of(left - kLanes))
                                                  : spread(0.0F));
#pragma GCC unroll 3
  for (int p = 0; p < kFloatParts; ++p) words[p] = join_neighbours(first.part[p], second.part[p]);
}

static void split_along_rows(const float* x, int64_t x_row, int64_t rows, int64_t k, int64_t words,
                             char* out, int64_t out_row) {
  for (int64_t i = 0; i < rows; ++i, x += x_row, out += out_row)
    for (int64_t w = 0; w < words; w += kTileRows) {
      Words parts[kFloatParts];
      split_neighbours(x + 2 * w, k - 2 * w, parts);
#pragma GCC unroll 3
      for (int p = 0; p < kFloatParts; ++p)
        store_words(out + w * 4 * kFloatParts + p * kTileBytes, parts[p]);
    }
}

TANDEM_INLINE void store_parts(const FloatParts& low, const FloatParts& high, char* out,
                               int64_t next_part) {
#pragma GCC unroll 3
  for (int p = 0; p < kFloatParts; ++p)
    store_words(out + p * next_part, join_pairs(low.part[p], high.part[p]));
}

// A vector of words from two rows, of which `high` may be null, in lines of parts that lie
// `next_part` bytes apart.
TANDEM_INLINE void split_pair(const float* low, const float* high, int count, char* out,
                              int64_t next_part) {
  const auto load = [&](const float* p) {
    return count == kLanes ? load_lanes(p) : load_lanes(p, count);
  };
  store_parts(split(load(low)), split(high ? load(high) : spread(0.0F)), out, next_part);
}

static void split_across_rows(const float* x, int64_t x_row, int64_t k, int64_t words, char* out,
                              const GemmStrip& strip) {
  const int64_t line = strip.out_row / kFloatParts, part = kTileRows * line;
  for (int64_t w = 0; w < words; ++w, x += 2 * x_row) {
    const int64_t left = k - 2 * w;
    char* const row = out + w / kTileRows * kTileRows * strip.out_row + w % kTileRows * line;
    for (int64_t p = 0; p < strip.panels; ++p)
      for (int64_t j = 0; j < strip.columns; j += kLanes) {
        const float* low = x + p * strip.columns + j;
        char* const to = row + p * strip.out_panel + j * 4;
        if (left > 0) {
          split_pair(low, left > 1 ? low + x_row : nullptr, lanes_of(strip.columns - j), to, part);
        } else {
#pragma GCC unroll 3
          for (int q = 0; q < kFloatParts; ++q) store_words(to + q * part, spread_word(0));
        }
      }
  }
}

// A vector of columns of at most as many rows of x, transposed; what does not exist is zero.
TANDEM_INLINE void load_square(const float* x, int64_t x_row, int64_t rows, int64_t columns,
                               Lanes (&r)[kLanes]) {
  if (rows >= kLanes && columns >= kLanes) {
    load_transposed(reinterpret_cast<const char*>(x), x_row * 4, r);
    return;
  }
  for (int i = 0; i < kLanes; ++i)
    r[i] = i < rows ? load_lanes(x + i * x_row, lanes_of(columns)) : spread(0.0F);
  transpose(r);
}

static void split_transposed(const float* x, int64_t x_row, int64_t rows, int64_t k, int64_t words,
                             char* out, int64_t out_row) {
  const int64_t line = out_row / kFloatParts;
  Lanes r[kLanes];
  for (int64_t w = 0; w < words; w += kTileRows, out += kTileRows * out_row)
    for (int64_t half = 0; half < kTileRows; half += kTileRows / 2) {
      const int64_t first = 2 * (w + half);
      load_square(x + first, x_row, rows, k - first, r);
#pragma GCC unroll 8
      for (int i = 0; i < kLanes; i += 2)
        store_parts(split(r[i]), split(r[i + 1]), out + (half + i / 2) * line, kTileRows * line);
    }
}

static void split_square(const float* x, int64_t x_row, int64_t columns, int64_t k, char* out,
                         int64_t out_row) {
  Lanes first[kLanes], second[kLanes];
  load_square(x, x_row, k, columns, first);
  load_square(x + kLanes * x_row, x_row, k - kLanes, columns, second);
  for (int64_t j = 0; j < columns; ++j) {
    const FloatParts low = split(first[j]), high = split(second[j]);
#pragma GCC unroll 3
    for (int p = 0; p < kFloatParts; ++p)
      store_words(out + j * out_row + p * kTileBytes, join_neighbours(low.part[p], high.part[p]));
  }
}

static constexpr GemmRounding kSplitting = {split_along_rows, split_across_rows, split_transposed,
                                            split_square};

}  // namespace tandem::cpu::TANDEM_ISA_NS
