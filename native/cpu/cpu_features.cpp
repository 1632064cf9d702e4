#include "cpu/cpu_features.h"

#if defined(_MSC_VER) && defined(_M_X64)
#include <intrin.h>
#elif (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tandem::cpu {

namespace {

struct Leaf {
  unsigned eax, ebx, ecx, edx;
};

bool bit(unsigned word, int index) { return (word >> index & 1U) != 0; }

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)

Leaf cpuid(unsigned leaf, unsigned part = 0) {
  Leaf words{};
  if (__get_cpuid_count(leaf, part, &words.eax, &words.ebx, &words.ecx, &words.edx) == 0) return {};
  return words;
}

#elif defined(_MSC_VER) && defined(_M_X64)

Leaf cpuid(unsigned leaf, unsigned part = 0) {
  int words[4];
  __cpuidex(words, static_cast<int>(leaf), static_cast<int>(part));
  return {static_cast<unsigned>(words[0]), static_cast<unsigned>(words[1]),
          static_cast<unsigned>(words[2]), static_cast<unsigned>(words[3])};
}

/// The operating system saves these register states on a switch of threads.
bool saves(unsigned long long mask) { return bit(cpuid(1).ecx, 27) && (_xgetbv(0) & mask) == mask; }

#else

Leaf cpuid(unsigned /*leaf*/, unsigned /*part*/ = 0) { return {}; }

#endif

/// Linux gives a process the tile registers when it asks for them; they make every switch of its
/// threads that uses them dearer.
bool may_use_tiles() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // of asm/prctl.h
  static const bool granted =
      bit(cpuid(7).edx, 24) && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
#else
  return false;
#endif
}

/// The compiler may use it wherever it may use AVX2 here.
[[maybe_unused]] bool has_f16c() { return bit(cpuid(1).ecx, 29); }

}  // namespace

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)

bool has_avx2() {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
         __builtin_cpu_supports("bmi") != 0 && __builtin_cpu_supports("bmi2") != 0 && has_f16c();
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") != 0 &&
         __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0;
}

#elif defined(_MSC_VER) && defined(_M_X64)

bool has_avx2() {
  const Leaf one = cpuid(1);
  const Leaf seven = cpuid(7);
  return saves(0x6) && bit(one.ecx, 12) && bit(seven.ebx, 5) && bit(seven.ebx, 3) &&
         bit(seven.ebx, 8) && has_f16c();
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

bool splits_avx512() {
  // AMD's family 19h is Zen 3 and Zen 4, of which the latter has AVX-512; 1Ah is Zen 5.
  static const bool found = [] {
    const Leaf vendor = cpuid(0);
    const bool amd = vendor.ebx == 0x68747541 && vendor.edx == 0x69746e65 &&
                     vendor.ecx == 0x444d4163;  // "AuthenticAMD"
    const unsigned version = cpuid(1).eax;
    const unsigned family = (version >> 8 & 0xf) + (version >> 20 & 0xff);
    return amd && family == 0x19 && has_avx512();
  }();
  return found;
}

int l1_ways() {
  static const int found = [] {
    // Intel's and AMD's leaves describe a cache for each part, until one of type 0.
    constexpr unsigned kLeaves[] = {4, 0x8000001D};
    for (const unsigned leaf : kLeaves) {
      for (unsigned part = 0; part < 8; ++part) {
        const Leaf cache = cpuid(leaf, part);
        const unsigned type = cache.eax & 0x1f, level = cache.eax >> 5 & 7;
        if (type == 0) break;
        constexpr unsigned kInstructions = 2;
        if (level == 1 && type != kInstructions) return static_cast<int>(cache.ebx >> 22) + 1;
      }
    }
    return 8;
  }();
  return found;
}

// Asked once: a virtual machine leaves every cpuid to its host, which takes microseconds, and plans
// ask for each product.
bool has_avx_vnni() {
  static const bool found = has_avx2() && bit(cpuid(7, 1).eax, 4);
  return found;
}
bool has_avx512_vnni() {
  static const bool found = has_avx512() && bit(cpuid(7).ecx, 11);
  return found;
}
bool has_avx512_bf16() {
  static const bool found = has_avx512() && bit(cpuid(7, 1).eax, 5);
  return found;
}
bool has_amx_int8() {
  static const bool found = has_avx512_vnni() && bit(cpuid(7).edx, 25) && may_use_tiles();
  return found;
}
bool has_amx_bf16() {
  static const bool found = has_avx512_bf16() && bit(cpuid(7).edx, 22) && may_use_tiles();
  return found;
}

}  // namespace tandem::cpu
