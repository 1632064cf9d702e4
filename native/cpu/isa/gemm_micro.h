// The register kernel that all types share: C[M, N vectors] = A * B, given how a family multiplies.
// A family is a struct of static functions:
//   Sum                    one accumulator
//   kParts                 steps that it takes to multiply a word
//   start(t, j)            accumulators of the columns from j on before the first step
//   a(p, part)             a word of A in every lane
//   b(p, part)             words of B of neighbouring columns; b(p, part, columns) those that exist
//   dot(a, b, sum)         sum + a * b
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

template <typename Family, int M, int N>
static void micro(const MicroArgs& t) {
  typename Family::Sum acc[M][N];
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) {
    const typename Family::Sum start = Family::start(t, j * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) acc[i][j] = start;
  }

  // C is not needed before the sums are done: its misses cost nothing if they start here.
  const int64_t last = N * kLanes * element_bytes(t.c_type) - 1;
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
    __builtin_prefetch(t.c + i * t.c_row, 1);
    __builtin_prefetch(t.c + i * t.c_row + last, 1);
  }
  // One pointer for five rows, which the compiler is kept from deriving from each other: it needs
  // four multiples of the stride then, and not a register for the stride of every row.
  constexpr int kGroups = (M + 4) / 5;
  const char* a[kGroups];
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; ++g) a[g] = opaque(t.a + g * 5 * t.a_row);
  const char* b = t.b;
  const int64_t a_row = t.a_row, a_k = t.a_k, b_pair = t.b_pair, b_k = t.b_k;
  for (int64_t left = t.k; left > 0; --left) {
#pragma GCC unroll 2
    for (int part = 0; part < Family::kParts; ++part) {
      typename Family::Operand bv[N];
      if constexpr (N == 1) {
        bv[0] = Family::b(b, part, t.columns);
      } else {
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j)
          bv[j] = Family::b(b + (j / 2) * b_pair + (j % 2) * kLanes * Family::kWordBytes, part);
      }
#pragma GCC unroll 16
      for (int i = 0; i < M; ++i) {
        const typename Family::Operand av = Family::a(a[i / 5] + (i % 5) * a_row, part);
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) acc[i][j] = Family::dot(av, bv[j], acc[i][j]);
      }
    }
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) a[g] += a_k;
    b += b_k;
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
