// The instruction sets that were built and that this machine has: what tests and benchmarks of
// kernels iterate over.
#pragma once

#include <vector>

#include "core/op_list.h"
#include "cpu/isa/math_table.h"
#include "cpu/kernel.h"

namespace tandem::cpu {

using RowFunction = void (*)(const float* in, const float* saved, float* out, int64_t n,
                             const float* params);

#define TANDEM_DECLARE_ISA(name)             \
  namespace name {                           \
  extern const LaunchFn launchers[kOpCount]; \
  extern const MathTable math_table;         \
  RowFunction row_function(Op op);           \
  }
TANDEM_DECLARE_ISA(isa_scalar)
TANDEM_DECLARE_ISA(isa_avx2)
TANDEM_DECLARE_ISA(isa_avx512)
#undef TANDEM_DECLARE_ISA

struct Isa {
  const char* name;
  const LaunchFn* launchers;
  const MathTable* math;
  RowFunction (*row_function)(Op op);
};

inline std::vector<Isa> isas() {
  std::vector<Isa> all;
  all.push_back(
      {"scalar", isa_scalar::launchers, &isa_scalar::math_table, isa_scalar::row_function});
#if defined(TANDEM_HAVE_AVX2)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("bmi2")) {
    all.push_back({"avx2", isa_avx2::launchers, &isa_avx2::math_table, isa_avx2::row_function});
  }
#endif
#if defined(TANDEM_HAVE_AVX512)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    all.push_back(
        {"avx512", isa_avx512::launchers, &isa_avx512::math_table, isa_avx512::row_function});
  }
#endif
  return all;
}

}  // namespace tandem::cpu
