// The instruction sets that were built and that this machine has: what tests and benchmarks of
// kernels iterate over.
#pragma once

#include <vector>

#include "core/op_list.h"
#include "cpu/gemm_kernels.h"
#include "cpu/isa/math_table.h"
#include "cpu/kernel.h"

namespace tandem::cpu {

using RowFunction = void (*)(const float* in, const float* saved, float* out, int64_t n,
                             const float* params);

#define TANDEM_DECLARE_ISA(name)                         \
  namespace name {                                       \
  extern const LaunchFn launchers[kOpCount];             \
  extern const MathTable math_table;                     \
  RowFunction row_function(Op op);                       \
  const GemmKernels* const* gemm_kernels(GemmType type); \
  const GemmKernels*& panel_kernels();                   \
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
  const GemmKernels* const* (*gemm_kernels)(GemmType type);
  const GemmKernels*& (*panel_kernels)();
};

inline std::vector<Isa> isas() {
  std::vector<Isa> all;
#define TANDEM_ISA_OF(name, ns) \
  {name, ns::launchers, &ns::math_table, ns::row_function, ns::gemm_kernels, ns::panel_kernels}
  all.push_back(TANDEM_ISA_OF("scalar", isa_scalar));
#if defined(TANDEM_HAVE_AVX2)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("bmi2")) {
    all.push_back(TANDEM_ISA_OF("avx2", isa_avx2));
  }
#endif
#if defined(TANDEM_HAVE_AVX512)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    all.push_back(TANDEM_ISA_OF("avx512", isa_avx512));
  }
#endif
#undef TANDEM_ISA_OF
  return all;
}

}  // namespace tandem::cpu
