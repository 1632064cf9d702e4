// Epilogues in registers.
#pragma once

#include "cpu/isa/gemm_micro.h"
#include "cpu/isa/quantize.h"

namespace tandem::cpu::TANDEM_ISA_NS {

// For values in units of C.
TANDEM_INLINE Quantizer quantizer_of(const MicroArgs& t) {
  return {spread(t.c_low), spread(t.c_high), spread_word(t.c_zero)};
}

// For sums that are floats where they are stored, and where what is added to them comes from.
struct FloatsAlone {
  static constexpr bool kRounds = false;
};

// Rounds a row of vectors to bfloat16.
struct Rounding {
  static constexpr bool kRounds = true;

  template <int N>
  TANDEM_INLINE void store_vectors(char* p, const Lanes (&v)[N]) {
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) store_bf16(p + j * kLanes * 2, v[j]);
  }
};

// Sums in float of one vector of columns, of which some may not exist.
template <typename Round, int M>
TANDEM_INLINE void finish_float_column(const MicroArgs& t, const Lanes (&acc)[M][1]) {
  const int n = t.columns;
  const Lanes floor = spread(t.floor);
  const Lanes bias = t.bias ? load_lanes(t.bias, n) : spread(0.0F);
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
    Lanes v = acc[i][0];
    if (t.add) {
      const char* add = t.add + i * t.add_row;
      v = v + (Round::kRounds && t.add_bf16 ? load_bf16(add, n) : as_lanes(load_words(add, n)));
    }
    v = greater_of(floor, v + bias);
    char* c = t.c + i * t.c_row;
    if (Round::kRounds && t.c_type == GEMM_TO_BF16)
      store_bf16(c, v, n);
    else
      store_words(c, as_words(v), n);
  }
}

// Sums in float, stored as float or, if `Round` rounds, bfloat16.
template <typename Round, int M, int N>
TANDEM_INLINE void finish_floats(const MicroArgs& t, Lanes (&acc)[M][N]) {
  if constexpr (N == 1) {
    if (t.columns < kLanes) return finish_float_column<Round>(t, acc);
  }
  if (t.columns < N * kLanes) {
    alignas(64) char sums[M * N * kLanes * 4];
    spill(acc, sums, N * kLanes * 4);
    finish_float_sums(t, sums, N * kLanes);
    return;
  }
  if (Round::kRounds && t.add && t.add_bf16) {
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j)
        acc[i][j] = acc[i][j] + load_bf16(t.add + i * t.add_row + j * kLanes * 2);
  } else if (t.add) {
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j)
        acc[i][j] = acc[i][j] + as_lanes(load_words(t.add + i * t.add_row + j * kLanes * 4));
  }
  if (t.bias || t.floor == 0.0F) {
    const Lanes floor = spread(t.floor);
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      const Lanes bias = t.bias ? load_lanes(t.bias + j * kLanes) : spread(0.0F);
#pragma GCC unroll 16
      for (int i = 0; i < M; ++i) acc[i][j] = greater_of(floor, acc[i][j] + bias);
    }
  }
  if constexpr (Round::kRounds) {
    if (t.c_type == GEMM_TO_BF16) {
#pragma GCC unroll 16
      for (int i = 0; i < M; ++i) Round::store_vectors(t.c + i * t.c_row, acc[i]);
      return;
    }
  }
  spill(acc, t.c, t.c_row);
}

#if !defined(TANDEM_ISA_SCALAR)
// Whether no sum becomes a number that an integer does not hold, whatever it is.
template <int N>
TANDEM_INLINE bool stay_integers(const Lanes* scale, const Lanes* bias) {
  const auto size = [](Lanes x) { return greater_of(x, spread(0.0F) - x); };
  Mask all = spread(0x1p30F) >= fma(spread(0x1p31F), size(scale[0]), size(bias[0]));
#pragma GCC unroll 8
  for (int j = 1; j < N; ++j)
    all = all & (spread(0x1p30F) >= fma(spread(0x1p31F), size(scale[j]), size(bias[j])));
  return !any(!all);
}

// Sums in int32 as bytes, by two or four vectors, given the scale and bias of the columns in units
// of C. What saturates does so as bytes do if the values are `bounded` by what an integer holds.
template <bool bounded, int M, int N>
TANDEM_INLINE void pack_sums(const MicroArgs& t, const Words (&acc)[M][N], const Lanes* scale,
                             const Lanes* bias, const BytePacking& packing) {
  const Lanes high = spread(t.c_high);
  const auto value = [&](int i, int j) {
    const Lanes v = fma(to_lanes(acc[i][j]), scale[j], bias[j]);
    // The bound keeps what would not fit an integer; NaN passes and becomes the lowest.
    return to_words(bounded ? v : lesser_of(high, v));
  };
  if constexpr (N == 2) {
#pragma GCC unroll 8
    for (int i = 0; i < M; i += 2) {
      const int next = i + 1 < M ? i + 1 : i;
      store_halves(t.c + i * t.c_row, t.c + next * t.c_row,
                   pack_bytes(value(i, 0), value(i, 1), value(next, 0), value(next, 1), packing));
    }
  } else {
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
      for (int j = 0; j < N; j += 4)
        store_words(
            t.c + i * t.c_row + j * kLanes,
            pack_bytes(value(i, j), value(i, j + 1), value(i, j + 2), value(i, j + 3), packing));
  }
}

// The same for any packing. `bounded` is asked for the plain one alone.
template <int M, int N, typename Bounded>
TANDEM_INLINE void pack_sums(const MicroArgs& t, const Words (&acc)[M][N], const Lanes* scale,
                             const Lanes* bias, const Bounded& bounded) {
  const int low = static_cast<int>(t.c_low) + t.c_zero;
  BytePacking packing = byte_packing(t.c_zero, low, t.c_type == GEMM_TO_S8);
  // Code of its own for what follows a relu as a rule: the compiler knows the constant there.
  if (packing.plain && bounded()) {
    packing.plain = true;
    pack_sums<true>(t, acc, scale, bias, packing);
  } else if (packing.plain) {
    packing.plain = true;
    pack_sums<false>(t, acc, scale, bias, packing);
  } else {
    packing.plain = false;
    pack_sums<false>(t, acc, scale, bias, packing);
  }
}
#endif

template <int M, int N>
TANDEM_INLINE void finish_bytes(const MicroArgs& t, const Words (&acc)[M][N], const Lanes* scale,
                                const Lanes* bias) {
#if !defined(TANDEM_ISA_SCALAR)
  if constexpr (N % 2 == 0) {
    // Few rows are not worth looking for what they may be spared.
    pack_sums(t, acc, scale, bias, [&] { return M >= 4 && stay_integers<N>(scale, bias); });
    return;
  }
#endif
  const Quantizer quantizer = quantizer_of(t);
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j)
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      char* c = t.c + i * t.c_row + j * kLanes;
      const Words v = quantize(quantizer, fma(to_lanes(acc[i][j]), scale[j], bias[j]));
      if constexpr (N == 1)
        store_u8(c, v, t.columns);
      else
        store_u8(c, v);
    }
}

// Scale and bias of whole columns, in units of C.
template <int N>
TANDEM_INLINE void load_scale(const MicroArgs& t, Lanes* scale, Lanes* bias) {
  const Lanes unit = spread(t.c_type != GEMM_TO_F32 ? t.c_inverse : 1.0F);
  const auto load = [&](const float* p) {
    return N == 1 ? load_lanes(p, t.columns) : load_lanes(p);
  };
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) {
    scale[j] = t.scale ? load(t.scale + j * kLanes) * unit : unit;
    bias[j] = t.bias ? load(t.bias + j * kLanes) * unit : spread(0.0F);
  }
}

// Whether sums in int32 need more than the scale and bias of their column.
TANDEM_INLINE bool depends_on_row(const MicroArgs& t) {
  return t.row_scale || t.row_zero || t.column_zero;
}

// Sums in int32, stored as float or bytes. What depends on the row goes through memory.
template <int M, int N>
TANDEM_INLINE void finish_integers(const MicroArgs& t, const Words (&acc)[M][N]) {
  const bool whole = N == 1 || t.columns == N * kLanes;
  if (!whole || t.c_type == GEMM_TO_S32 || t.add || depends_on_row(t)) {
    alignas(64) char sums[M * N * kLanes * 4];
    spill(acc, sums, N * kLanes * 4);
    finish_integer_sums(t, sums, N * kLanes);
    return;
  }
  Lanes scale[N], bias[N];
  load_scale<N>(t, scale, bias);
  if (t.c_type != GEMM_TO_F32) return finish_bytes(t, acc, scale, bias);
  const Lanes floor = spread(t.floor);
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j)
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      char* c = t.c + i * t.c_row + j * kLanes * 4;
      const Words v = as_words(greater_of(floor, fma(to_lanes(acc[i][j]), scale[j], bias[j])));
      if constexpr (N == 1)
        store_words(c, v, t.columns);
      else
        store_words(c, v);
    }
}

// Sums of the columns of B from j on.
TANDEM_INLINE Words column_sums(const MicroArgs& t, int j) {
  if (t.short_sums == nullptr) return load_words(t.sums + j);
  const Words sign = spread_word(0x8000);
  return (load_u16(t.short_sums + j) ^ sign) - sign;
}

// Accumulators that start at what the zero point of A takes from every sum.
TANDEM_INLINE Words start_integers(const MicroArgs& t, int j) {
  if (t.a_zero == 0) return spread_word(0);
  return spread_word(0) - spread_word(t.a_zero) * column_sums(t, j);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
