// Float operands of bfloat16 products, rounded while they are packed. `Round` has two static
// functions, which make bfloat16 of two vectors:
//   pairs(low, high)      word j of elements j of both
//   row(first, second)    words of neighbours, those of `first` before those of `second`
// Static, so that extensions of an instruction set do not share code.
#pragma once

#include "cpu/gemm_kernels.h"
#include "cpu/isa/tiles.h"
#include "cpu/isa/transpose_lanes.h"
#include "cpu/isa/words.h"

namespace tandem::cpu::TANDEM_ISA_NS {

// How many of `left` elements a vector holds.
TANDEM_INLINE int lanes_of(int64_t left) { return static_cast<int>(most(0, least(left, kLanes))); }

// A vector of words from as many pairs of neighbours as there are.
template <typename Round>
TANDEM_INLINE Words round_neighbours(const float* x, int64_t left) {
  if (left >= 2 * kLanes) return Round::row(load_lanes(x), load_lanes(x + kLanes));
  return Round::row(load_lanes(x, lanes_of(left)),
                    left > kLanes ? load_lanes(x + kLanes, lanes_of(left - kLanes)) : spread(0.0F));
}

template <typename Round>
static void round_along_rows(const float* x, int64_t x_row, int64_t rows, int64_t k, int64_t words,
                             char* out, int64_t out_row) {
  for (int64_t i = 0; i < rows; ++i, x += x_row, out += out_row) {
    int64_t w = 0;
    for (; w + kLanes <= words; w += kLanes)
      store_words(out + w * 4, round_neighbours<Round>(x + 2 * w, k - 2 * w));
    if (w < words)
      store_words(out + w * 4, round_neighbours<Round>(x + 2 * w, k - 2 * w),
                  static_cast<int>(words - w));
  }
}

// A row of words from two rows, or from one where `high` is null.
template <typename Round>
TANDEM_INLINE void round_pair_of_rows(const float* low, const float* high, int64_t columns,
                                      char* out) {
  int64_t j = 0;
  for (; j + kLanes <= columns; j += kLanes)
    store_words(out + j * 4,
                Round::pairs(load_lanes(low + j), high ? load_lanes(high + j) : spread(0.0F)));
  if (j == columns) return;
  const int count = static_cast<int>(columns - j);
  store_words(out + j * 4, Round::pairs(load_lanes(low + j, count),
                                        high ? load_lanes(high + j, count) : spread(0.0F)));
}

template <typename Round>
static void round_across_rows(const float* x, int64_t x_row, int64_t k, int64_t words, char* out,
                              const GemmStrip& strip) {
  for (int64_t w = 0; w < words; ++w, x += 2 * x_row, out += strip.out_row) {
    const int64_t left = k - 2 * w;
    for (int64_t p = 0; p < strip.panels; ++p) {
      const float* low = x + p * strip.columns;
      char* panel = out + p * strip.out_panel;
      if (left > 0) {
        round_pair_of_rows<Round>(low, left > 1 ? low + x_row : nullptr, strip.columns, panel);
      } else {
        for (int64_t j = 0; j < strip.columns; j += kLanes)
          store_words(panel + j * 4, spread_word(0));
      }
    }
  }
}

template <typename Round>
static void round_transposed(const float* x, int64_t x_row, int64_t rows, int64_t k, int64_t words,
                             char* out, int64_t out_row) {
  Lanes r[kLanes];
  int64_t w = 0;
  if (rows == kLanes) {
    const int64_t whole = least(words, k / 2);
    for (; w + kLanes <= whole; w += kLanes) {
      // So many rows at once are more than the hardware prefetcher follows.
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) __builtin_prefetch(x + i * x_row + 2 * w + 4 * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        const float* p = x + i * x_row + 2 * w;
        r[i] = as_lanes(Round::row(load_lanes(p), load_lanes(p + kLanes)));
      }
      transpose(r);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) store_words(out + (w + i) * out_row, as_words(r[i]));
    }
  }
  for (; w < words; w += kLanes) {
    const int count = static_cast<int>(least(words - w, kLanes));
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i)
      r[i] = i < rows ? as_lanes(round_neighbours<Round>(x + i * x_row + 2 * w, k - 2 * w))
                      : spread(0.0F);
    transpose(r);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i)
      if (i < count) store_words(out + (w + i) * out_row, as_words(r[i]));
  }
}

template <typename Round>
static void round_square(const float* x, int64_t x_row, int64_t columns, int64_t k, char* out,
                         int64_t out_row) {
  Lanes r[kLanes];
  if (columns == kLanes && k >= 2 * kLanes) {
#pragma GCC unroll 16
    for (int w = 0; w < kLanes; ++w) {
      const float* low = x + 2 * w * x_row;
      r[w] = as_lanes(Round::pairs(load_lanes(low), load_lanes(low + x_row)));
    }
  } else {
    const auto load = [&](int64_t row) {
      return row < k ? load_lanes(x + row * x_row, static_cast<int>(columns)) : spread(0.0F);
    };
    for (int w = 0; w < kLanes; ++w) r[w] = as_lanes(Round::pairs(load(2 * w), load(2 * w + 1)));
  }
  transpose(r);
  for (int64_t j = 0; j < columns; ++j) store_words(out + j * out_row, as_words(r[j]));
}

template <typename Round>
static constexpr GemmRounding rounding_of() {
  return {round_along_rows<Round>, round_across_rows<Round>, round_transposed<Round>,
          round_square<Round>};
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
