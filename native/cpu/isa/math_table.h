// The functions of math.h as loops over arrays, one table an instruction set: what the tests and
// benchmarks of math.h call. No kernel uses it.
#pragma once

#include <cstdint>

namespace tandem::cpu {

struct MathTable {
  using Unary = void (*)(const float* x, float* y, int64_t n);
  Unary exp, expm1, log, tanh, erf, sigmoid, softplus, sin, cos;
  void (*pow)(const float* x, const float* y, float* z, int64_t n);
};

}  // namespace tandem::cpu
