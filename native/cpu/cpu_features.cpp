#include "cpu/cpu_features.h"

#if defined(_MSC_VER) && defined(_M_X64)
#include <intrin.h>
#endif

namespace tandem::cpu {

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)

bool has_avx2() {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
         __builtin_cpu_supports("bmi") != 0 && __builtin_cpu_supports("bmi2") != 0;
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") != 0 &&
         __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0;
}

#elif defined(_MSC_VER) && defined(_M_X64)

namespace {

struct Leaf {
  int eax, ebx, ecx, edx;
};

Leaf cpuid(int leaf) {
  int words[4];
  __cpuidex(words, leaf, 0);
  return {words[0], words[1], words[2], words[3]};
}

bool bit(int word, int index) { return (static_cast<unsigned>(word) >> index & 1U) != 0; }

/// The operating system saves these register states on a switch of threads.
bool saves(unsigned long long mask) { return bit(cpuid(1).ecx, 27) && (_xgetbv(0) & mask) == mask; }

}  // namespace

bool has_avx2() {
  const Leaf one = cpuid(1);
  const Leaf seven = cpuid(7);
  return saves(0x6) && bit(one.ecx, 12) && bit(seven.ebx, 5) && bit(seven.ebx, 3) &&
         bit(seven.ebx, 8);
}

bool has_avx512() {
  const Leaf seven = cpuid(7);
  return has_avx2() && saves(0xe6) && bit(seven.ebx, 16) && bit(seven.ebx, 30) &&
         bit(seven.ebx, 17) && bit(seven.ebx, 31);
}

#else

bool has_avx2() { return false; }
bool has_avx512() { return false; }

#endif

}  // namespace tandem::cpu
