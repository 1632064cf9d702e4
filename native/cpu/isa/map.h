// What the elementwise kernels share: loops over contiguous elements and the estimate of their
// cost. Outputs may lie on an input: an element is read before its place is written.
#pragma once

#include "core/op_list.h"
#include "cpu/isa/math.h"
#include "cpu/isa/tiles.h"
#include "cpu/kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// Elements in a tile of an elementwise kernel: three operands fit into the L2 cache.
inline constexpr int64_t kMapTile = 16384;

TANDEM_INLINE int64_t tiles_of(int64_t n) { return (n + kMapTile - 1) / kMapTile; }

/// out[i] = f(x[i])
template <typename F>
TANDEM_INLINE void map(const float* x, float* out, int64_t n, F f) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) store(out + i, f(load(x + i)));
  if (i < n) store_partial(out + i, f(load_partial(x + i, n - i)), n - i);
}

/// out[i] = f(x[i], y[i])
template <typename F>
TANDEM_INLINE void map(const float* x, const float* y, float* out, int64_t n, F f) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) store(out + i, f(load(x + i), load(y + i)));
  if (i < n)
    store_partial(out + i, f(load_partial(x + i, n - i), load_partial(y + i, n - i)), n - i);
}

[[maybe_unused]] static consteval bool mentions(const char* expression, const char* name) {
  for (; *expression != '\0'; ++expression) {
    int i = 0;
    while (name[i] != '\0' && expression[i] == name[i]) ++i;
    if (name[i] == '\0') return true;
  }
  return false;
}

/// Nanoseconds an element of an expression of elementwise.def, read from its text: memory, plus the
/// functions that it mentions (each once: compilers share equal calls).
[[maybe_unused]] static consteval double cost_of(const char* expression) {
  struct Price {
    const char* name;
    double cycles;  // of a vector
  };
  constexpr Price prices[] = {{"exp_(", 13},     {"expm1_(", 18}, {"log_(", 16},
                              {"sigmoid_(", 22}, {"sin_(", 18},   {"cos_(", 18},
                              {"tanh_(", 28},    {"erf_(", 15},   {"softplus_(", 24},
                              {"sqrt_(", 8},     {"/", 8},        {"pow_(", 80}};
  double cycles = 0;
  for (const Price& price : prices) cycles += mentions(expression, price.name) ? price.cycles : 0;
  return 0.14 + cycles * 0.3 / kWidth;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
