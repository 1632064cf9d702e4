// The register kernel that all types share: C[M, N vectors] = A * B, at least one word of k, given
// how a family multiplies. A family is a struct of static functions:
//   Sum                    one accumulator; Sum{} is zero
//   kParts                 steps that it takes to multiply a word
//   a(p, part)             a word of A in every lane
//   b(p, part)             words of B of neighbouring columns; b(p, part, columns) those that exist
//   dot(a, b, sum)         sum + a * b
//   first(a, b)            a product alone for the first step, if kHasFirst
//   start(t, j)            what the sums of the columns from j on start from, if not kHasFirst
//   finish<M, N>(t, sums)  epilogue and stores
// Static, so that extensions of an instruction set do not share code.
#pragma once

#include "cpu/isa/gemm_families.h"
#include "cpu/isa/gemm_kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

TANDEM_INLINE const char* opaque(const char* p) {
#if defined(__GNUC__) || defined(__clang__)
  __asm__("" : "+r"(p));
#endif
  return p;
}

// One pointer for five rows, which the compiler is kept from deriving from each other: it needs
// four multiples of the stride then, and not a register for the stride of every row.
inline constexpr int kGroupRows = 5;

template <typename Family, int N>
TANDEM_INLINE void load_operands(typename Family::Operand (&bv)[N], const MicroArgs& t,
                                 const char* b, int part) {
  if constexpr (N == 1) {
    bv[0] = Family::b(b, part, t.columns);
  } else {
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j)
      bv[j] = Family::b(b + (j / 2) * t.b_pair + (j % 2) * kLanes * Family::kWordBytes, part);
  }
}

// One word of k. Rows of A are `a_row` bytes apart.
template <typename Family, int M, int N, bool is_first>
TANDEM_INLINE void step(const MicroArgs& t, int64_t a_row, const char* const* a, const char* b,
                        typename Family::Sum (&acc)[M][N]) {
#pragma GCC unroll 2
  for (int part = 0; part < Family::kParts; ++part) {
    typename Family::Operand bv[N];
    load_operands<Family, N>(bv, t, b, part);
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      const auto av = Family::a(a[i / kGroupRows] + (i % kGroupRows) * a_row, part);
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) {
        if constexpr (is_first) {
          acc[i][j] = part == 0 ? Family::first(av, bv[j]) : Family::dot(av, bv[j], acc[i][j]);
        } else {
          acc[i][j] = Family::dot(av, bv[j], acc[i][j]);
        }
      }
    }
  }
}

template <int groups>
TANDEM_INLINE void next_word(const MicroArgs& t, const char* (&a)[groups], const char*& b) {
#pragma GCC unroll 4
  for (int g = 0; g < groups; ++g) a[g] += t.a_k;
  b += t.b_k;
}

// Sums in flight that hide the latency of an accumulation.
inline constexpr int kLatency = 8;

// Accumulations beside which one more load a word of k costs nothing.
inline constexpr int kHidesPrefetch = 10;

// Few sums would wait for their own results: words of k go to several of each in turn.
inline constexpr int chains_of(int sums) { return 2 * sums <= kLatency ? kLatency / sums : 1; }

// Returns how many words are left.
template <typename Family, int M, int N, int kChains, int groups>
TANDEM_INLINE int64_t add_chains(const MicroArgs& t, const char* (&a)[groups], const char*& b,
                                 int64_t left, typename Family::Sum (&acc)[M][N]) {
  if (left < kChains) return left;
  typename Family::Sum chains[kChains][M][N] = {};
  if constexpr (Family::kHasFirst) {
#pragma GCC unroll 8
    for (int c = 0; c < kChains; ++c) {
      step<Family, M, N, true>(t, t.a_row, a, b, chains[c]);
      next_word(t, a, b);
    }
    left -= kChains;
  }
  for (; left >= kChains; left -= kChains) {
#pragma GCC unroll 8
    for (int c = 0; c < kChains; ++c) {
      step<Family, M, N, false>(t, t.a_row, a, b, chains[c]);
      next_word(t, a, b);
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < kChains; ++c)
#pragma GCC unroll 8
    for (int i = 0; i < M * N; ++i) acc[i / N][i % N] = acc[i / N][i % N] + chains[c][i / N][i % N];
  return left;
}

// So many sums take every port that multiplies, where pointers that move are felt, too. They move
// once in a turn of some words of k, longer ones where fewer sums make shorter steps.
#if defined(TANDEM_ISA_AVX512)
inline constexpr int kFillsPorts = 20, kTurn = 2;
#else
inline constexpr int kFillsPorts = 10, kTurn = 4;
#endif

// Whole turns of the words of k: of rows of A whose words are neighbours, or of `columns` of A,
// whose rows are and which need one pointer. Returns how many words are left.
template <typename Family, int M, int N, bool columns, bool prefetches, int groups>
TANDEM_INLINE int64_t add_turns(const MicroArgs& t, const char* (&a)[groups], const char*& b,
                                const char*& next, int64_t left,
                                typename Family::Sum (&acc)[M][N]) {
  constexpr int64_t kWord = 4;
  const int64_t a_row = columns ? kWord : t.a_row, a_k = columns ? t.a_k : kWord;
  for (; left >= kTurn; left -= kTurn) {
#pragma GCC unroll 4
    for (int word = 0; word < kTurn; ++word) {
      if constexpr (prefetches) __builtin_prefetch(next + word * t.next_k, 0, 2);
      const char* at[groups];
#pragma GCC unroll 4
      for (int g = 0; g < groups; ++g)
        at[g] = (columns ? a[0] + g * kGroupRows * kWord : a[g]) + word * a_k;
      step<Family, M, N, false>(t, a_row, at, b + word * t.b_k, acc);
    }
#pragma GCC unroll 4
    for (int g = 0; g < groups; ++g) a[g] += kTurn * a_k;
    b += kTurn * t.b_k;
    if constexpr (prefetches) next += kTurn * t.next_k;
  }
  return left;
}

template <typename Family, int M, int N, int kChains = chains_of(M * N)>
static void micro(const MicroArgs& t) {
  // C is not needed before the sums are done: its misses cost nothing if they start here. Short
  // sums would be over before that helps.
  constexpr int64_t kLongSum = 128;
  if (t.k >= kLongSum) {
    const int64_t last = N * kLanes * element_bytes(t.c_type) - 1;
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      __builtin_prefetch(t.c + i * t.c_row, 1);
      __builtin_prefetch(t.c + i * t.c_row + last, 1);
    }
  }
  constexpr int kGroups = (M + kGroupRows - 1) / kGroupRows;
  const char* a[kGroups];
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; ++g) a[g] = opaque(t.a + g * kGroupRows * t.a_row);
  const char* b = t.b;

  typename Family::Sum acc[M][N];
  int64_t left = t.k;
  if constexpr (Family::kHasFirst) {
    step<Family, M, N, true>(t, t.a_row, a, b, acc);
    next_word(t, a, b);
    --left;
  } else {
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      const typename Family::Sum start = Family::start(t, j * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < M; ++i) acc[i][j] = start;
    }
  }
  if constexpr (kChains > 1) left = add_chains<Family, M, N, kChains>(t, a, b, left, acc);
  const char* next = t.next;
  if constexpr (M * N >= kFillsPorts && Family::kParts == 1) {
    if (t.a_k == 4)
      left = t.next_k == 0 ? add_turns<Family, M, N, false, false>(t, a, b, next, left, acc)
                           : add_turns<Family, M, N, false, true>(t, a, b, next, left, acc);
    else if (t.a_row == 4)
      left = t.next_k == 0 ? add_turns<Family, M, N, true, false>(t, a, b, next, left, acc)
                           : add_turns<Family, M, N, true, true>(t, a, b, next, left, acc);
  }
  for (; left > 0; --left) {
    if constexpr (M * N >= kHidesPrefetch) {
      __builtin_prefetch(next, 0, 2);
      next += t.next_k;
    }
    step<Family, M, N, false>(t, t.a_row, a, b, acc);
    next_word(t, a, b);
  }
  Family::template finish<M, N>(t, acc);
}

TANDEM_INLINE void store_sum(char* p, Lanes x) { store_words(p, as_words(x)); }
TANDEM_INLINE void store_sum(char* p, Words x) { store_words(p, x); }

// Stores sums as rows that lie `row` bytes apart.
template <int M, int N, typename Sum>
TANDEM_INLINE void spill(const Sum (&acc)[M][N], char* sums, int64_t row) {
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) store_sum(sums + i * row + j * kLanes * 4, acc[i][j]);
}

// Row heights that a width does not serve stay null; the caller never asks for them.
template <typename Family, int M, int N, int limit>
constexpr MicroKernel pick() {
  if constexpr (M <= limit)
    return micro<Family, M, N>;
  else
    return nullptr;
}

#if defined(TANDEM_ISA_AVX512)
#define TANDEM_MICRO_ROWS(F, N, L)                                                       \
  pick<F, 1, N, L>(), pick<F, 2, N, L>(), pick<F, 3, N, L>(), pick<F, 4, N, L>(),        \
      pick<F, 5, N, L>(), pick<F, 6, N, L>(), pick<F, 7, N, L>(), pick<F, 8, N, L>(),    \
      pick<F, 9, N, L>(), pick<F, 10, N, L>(), pick<F, 11, N, L>(), pick<F, 12, N, L>(), \
      pick<F, 13, N, L>(), pick<F, 14, N, L>()
#elif defined(TANDEM_ISA_AVX2)
#define TANDEM_MICRO_ROWS(F, N, L)                                                \
  pick<F, 1, N, L>(), pick<F, 2, N, L>(), pick<F, 3, N, L>(), pick<F, 4, N, L>(), \
      pick<F, 5, N, L>(), pick<F, 6, N, L>()
#else
#define TANDEM_MICRO_ROWS(F, N, L) \
  pick<F, 1, N, L>(), pick<F, 2, N, L>(), pick<F, 3, N, L>(), pick<F, 4, N, L>()
#endif

// The kernels of a family, in the order that GemmKernels wants.
#define TANDEM_MICRO_KERNELS(F)                                              \
  {TANDEM_MICRO_ROWS(F, 1, kPanelRows), TANDEM_MICRO_ROWS(F, 2, kPanelRows), \
   TANDEM_MICRO_ROWS(F, 4, kWide4Rows), TANDEM_MICRO_ROWS(F, 8, kWide8Rows)}

}  // namespace tandem::cpu::TANDEM_ISA_NS
