// Register kernels of the matrix product: C[M, N vectors] = [add +] A * B, bias and relu.
#include "cpu/isa/gemm_kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

// Pieces that end within a vector leave through this buffer: partial stores in the kernels
// would double their code for a path that few pieces take.
__attribute__((noinline)) void store_edge(const MicroArgs& t, const float* sums, int rows,
                                          int width) {
  const Lanes floor = spread(t.floor);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < t.columns; j += kLanes) {
      const int count = static_cast<int>(least(t.columns - j, kLanes));
      Lanes v = load_lanes(sums + i * width + j);
      if (t.add) v = v + load_lanes(t.add + i * t.add_row + j, count);
      if (t.bias) v = v + load_lanes(t.bias + j, count);
      store_lanes(t.c + i * t.c_row + j, greater_of(floor, v), count);
    }
  }
}

template <int M, int N>
void micro(const MicroArgs& t) {
  Lanes acc[M][N];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) acc[i][j] = spread(0.0F);

  // C is not needed before the sums are done: its misses cost nothing if they start here.
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
    __builtin_prefetch(t.c + i * t.c_row, 1);
    __builtin_prefetch(t.c + i * t.c_row + N * kLanes - 1, 1);
  }
  const float* a = t.a;
  const float* b = t.b;
  const int64_t a_row = t.a_row, a_k = t.a_k, b_pair = t.b_pair, b_k = t.b_k;
  for (int64_t left = t.k; left > 0; --left) {
    Lanes bv[N];
    if constexpr (N == 1) {
      bv[0] = load_lanes(b, t.columns);
    } else {
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) bv[j] = load_lanes(b + (j / 2) * b_pair + (j % 2) * kLanes);
    }
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      const Lanes av = spread(a[i * a_row]);
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) acc[i][j] = fma(av, bv[j], acc[i][j]);
    }
    a += a_k;
    b += b_k;
  }

  if (t.columns < N * kLanes) {
    alignas(64) float sums[M * N * kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) store(sums + (i * N + j) * kLanes, acc[i][j]);
    store_edge(t, sums, M, N * kLanes);
    return;
  }
  if (t.add) {
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j)
        acc[i][j] = acc[i][j] + load_lanes(t.add + i * t.add_row + j * kLanes);
  }
  const Lanes floor = spread(t.floor);
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) {
    const Lanes bias = t.bias ? load_lanes(t.bias + j * kLanes) : spread(0.0F);
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i)
      store(t.c + i * t.c_row + j * kLanes, greater_of(floor, acc[i][j] + bias));
  }
}

// Row heights that a width does not serve stay null; the caller never asks for them.
template <int M, int N, int limit>
constexpr MicroKernel pick() {
  if constexpr (M <= limit)
    return micro<M, N>;
  else
    return nullptr;
}

#if defined(TANDEM_ISA_AVX512)
#define ROWS(N, L)                                                                          \
  {pick<1, N, L>(),  pick<2, N, L>(),  pick<3, N, L>(),  pick<4, N, L>(), pick<5, N, L>(),  \
   pick<6, N, L>(),  pick<7, N, L>(),  pick<8, N, L>(),  pick<9, N, L>(), pick<10, N, L>(), \
   pick<11, N, L>(), pick<12, N, L>(), pick<13, N, L>(), pick<14, N, L>()}
#elif defined(TANDEM_ISA_AVX2)
#define ROWS(N, L)                                    \
  {pick<1, N, L>(), pick<2, N, L>(), pick<3, N, L>(), \
   pick<4, N, L>(), pick<5, N, L>(), pick<6, N, L>()}
#else
#define ROWS(N, L) {pick<1, N, L>(), pick<2, N, L>(), pick<3, N, L>(), pick<4, N, L>()}
#endif

}  // namespace

const MicroKernel kMicroKernels[4][kPanelRows] = {ROWS(1, kPanelRows), ROWS(2, kPanelRows),
                                                  ROWS(4, kWide4Rows), ROWS(8, kWide8Rows)};

}  // namespace tandem::cpu::TANDEM_ISA_NS
