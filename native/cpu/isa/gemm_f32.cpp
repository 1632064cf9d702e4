// Register kernels of the matrix product in float.
#include "cpu/isa/gemm_micro.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

TANDEM_INLINE const float* floats(const char* p) { return reinterpret_cast<const float*>(p); }
TANDEM_INLINE float* floats(char* p) { return reinterpret_cast<float*>(p); }

// Pieces that end within a vector leave through this buffer: partial stores in the kernels
// would double their code for a path that few pieces take.
__attribute__((noinline)) void store_edge(const MicroArgs& t, const float* sums, int rows,
                                          int width) {
  const Lanes floor = spread(t.floor);
  for (int i = 0; i < rows; ++i) {
    float* c = floats(t.c + i * t.c_row);
    for (int j = 0; j < t.columns; j += kLanes) {
      const int count = static_cast<int>(least(t.columns - j, kLanes));
      Lanes v = load_lanes(sums + i * width + j);
      if (t.add) v = v + load_lanes(floats(t.add + i * t.add_row) + j, count);
      if (t.bias) v = v + load_lanes(t.bias + j, count);
      store_lanes(c + j, greater_of(floor, v), count);
    }
  }
}

struct F32 {
  using Sum = Lanes;
  using Operand = Lanes;
  static constexpr int kParts = 1, kWordBytes = 4;
  static constexpr bool kHasFirst = true;

  TANDEM_INLINE Operand a(const char* p, int /*part*/) { return spread(*floats(p)); }
  TANDEM_INLINE Operand b(const char* p, int /*part*/) { return load_lanes(floats(p)); }
  TANDEM_INLINE Operand b(const char* p, int /*part*/, int columns) {
    return load_lanes(floats(p), columns);
  }
  TANDEM_INLINE Sum dot(Operand a, Operand b, Sum sum) { return fma(a, b, sum); }
  TANDEM_INLINE Sum first(Operand a, Operand b) { return a * b; }

  // One vector of columns, of which some may not exist.
  template <int M>
  TANDEM_INLINE void finish_column(const MicroArgs& t, const Sum (&acc)[M][1]) {
    const int n = t.columns;
    const Lanes floor = spread(t.floor);
    const Lanes bias = t.bias ? load_lanes(t.bias, n) : spread(0.0F);
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      Lanes v = acc[i][0];
      if (t.add) v = v + load_lanes(floats(t.add + i * t.add_row), n);
      store_lanes(floats(t.c + i * t.c_row), greater_of(floor, v + bias), n);
    }
  }

  template <int M, int N>
  TANDEM_INLINE void finish(const MicroArgs& t, Sum (&acc)[M][N]) {
    if constexpr (N == 1) {
      if (t.columns < kLanes) return finish_column(t, acc);
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
          acc[i][j] = acc[i][j] + load_lanes(floats(t.add + i * t.add_row) + j * kLanes);
    }
    if (!t.bias && t.floor < 0.0F) {
#pragma GCC unroll 16
      for (int i = 0; i < M; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) store(floats(t.c + i * t.c_row) + j * kLanes, acc[i][j]);
      return;
    }
    const Lanes floor = spread(t.floor);
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      const Lanes bias = t.bias ? load_lanes(t.bias + j * kLanes) : spread(0.0F);
#pragma GCC unroll 16
      for (int i = 0; i < M; ++i)
        store(floats(t.c + i * t.c_row) + j * kLanes, greater_of(floor, acc[i][j] + bias));
    }
  }
};

constexpr MicroKernel kMicro[4 * kPanelRows] = TANDEM_MICRO_KERNELS(F32);

bool always() { return true; }

}  // namespace

const GemmKernels kF32Kernels = {.name = "f32",
                                 .available = always,
                                 .type = GEMM_F32,
                                 .group = 1,
                                 .k_step = 1,
                                 .steps_per_word = 1,
                                 .a_word = 4,
                                 .b_word = 4,
                                 .a_in_place = true,
                                 .a_panels = true,
                                 .rounding = nullptr,
                                 .panel_rows = kPanelRows,
                                 .wide4_rows = kWide4Rows,
                                 .wide8_rows = kWide8Rows,
                                 .micro = kMicro,
                                 .begin = nullptr,
                                 .end = nullptr};

}  // namespace tandem::cpu::TANDEM_ISA_NS
