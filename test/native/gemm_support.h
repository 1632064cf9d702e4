// What the tests of matrix products share: the instruction sets, random numbers, and buffers that
// end or start at a page that must not be touched.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cpu/gemm_kernels.h"
#include "guarded_pages.h"

TANDEM_GEMM_DECLARE(isa_scalar)
#if defined(__x86_64__)
TANDEM_GEMM_DECLARE(isa_avx2)
TANDEM_GEMM_DECLARE(isa_avx512)
#endif

namespace tandem::cpu {

struct GemmIsa {
  const char* name;
  const GemmKernels* const* (*kernels)(GemmType);
  GemmPlan (*plan)(const GemmDesc&);
  void (*pack)(const GemmPlan&, const void*, void*, int64_t);
  void (*pack_a)(const GemmPlan&, const void*, void*, int64_t);
  void (*compute)(const GemmPlan&, const void*, const void*, void*, const GemmEpilogue&, int64_t,
                  void*);
  GemmUnits units = GEMM_UNITS_DETECTED;  // what plans are made for
  const GemmKernels* floats = nullptr;    // of products of floats; null: what the plan chooses
};

// Those that this machine has.
inline std::vector<GemmIsa> machine_gemm_isas() {
  std::vector<GemmIsa> all = {{"scalar", isa_scalar::gemm_kernels, isa_scalar::plan_gemm,
                               isa_scalar::gemm_pack_b, isa_scalar::gemm_pack_a,
                               isa_scalar::gemm_compute}};
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx2)
    all.push_back({"avx2", isa_avx2::gemm_kernels, isa_avx2::plan_gemm, isa_avx2::gemm_pack_b,
                   isa_avx2::gemm_pack_a, isa_avx2::gemm_compute});
  if (avx512)
    for (const GemmUnits units : {GEMM_UNITS_WHOLE, GEMM_UNITS_SPLIT})
      all.push_back({units == GEMM_UNITS_WHOLE ? "avx512" : "avx512 in halves",
                     isa_avx512::gemm_kernels, isa_avx512::plan_gemm, isa_avx512::gemm_pack_b,
                     isa_avx512::gemm_pack_a, isa_avx512::gemm_compute, units});
#endif
  return all;
}

// Those of them that this run is of: all, or the one that TANDEM_ISA names, since the others have
// runs of their own.
inline std::vector<GemmIsa> gemm_isas() {
  std::vector<GemmIsa> all = machine_gemm_isas();
  // Nobody writes the environment. NOLINTNEXTLINE(concurrency-mt-unsafe)
  const char* const one = std::getenv("TANDEM_ISA");
  if (one != nullptr)
    std::erase_if(all, [one](const GemmIsa& isa) {
      return std::strncmp(isa.name, one, std::strlen(one)) != 0;
    });
  return all;
}

// The kernels for a type that this machine can run.
inline std::vector<const GemmKernels*> gemm_families(const GemmIsa& isa, GemmType type) {
  std::vector<const GemmKernels*> all;
  for (const GemmKernels* const* k = isa.kernels(type); *k; ++k)
    if ((*k)->available()) all.push_back(*k);
  return all;
}

// Every instruction set, with the family for floats that a plan chooses, and with each. For `large`
// products tiles in software, which take long, are left out where the processor has them.
inline std::vector<GemmIsa> float_isas(bool large = false) {
  std::vector<GemmIsa> all = gemm_isas();
  for (GemmIsa isa : gemm_isas()) {
    const std::vector<const GemmKernels*> families = gemm_families(isa, GEMM_F32);
    const bool has_tiles = families.size() > 2;
    for (const GemmKernels* kernels : families) {
      if (large && has_tiles && kernels == families.back()) continue;
      isa.floats = kernels;
      all.push_back(isa);
    }
  }
  return all;
}

// Whether the compute tiles read what the pack tiles made of B.
inline bool reads_packed(const GemmPlan& plan) {
  return plan.source == GEMM_B_PACKED || plan.source == GEMM_B_SPLIT;
}

inline uint32_t random_state = 1;
inline uint32_t next_random() { return random_state = random_state * 1664525u + 1013904223u; }
inline int64_t random_in(int64_t low, int64_t high) {
  return low + static_cast<int64_t>((next_random() >> 8) % static_cast<uint32_t>(high - low + 1));
}
inline float random_value() { return static_cast<float>(random_in(-1000, 1000)) / 1000.0f; }

// `count` elements that lie against a page without access, at their end or at their start; scratch
// and packed memory are promised to be aligned.
template <typename T>
class Guarded {
 public:
  Guarded(int64_t count, T fill, bool aligned = false)
      : pages_(static_cast<size_t>(count) * sizeof(T), aligned ? 64 : sizeof(T),
               next_random() >> 31 ? GuardedPages::Side::kStart : GuardedPages::Side::kEnd) {
    for (int64_t i = 0; i < count; ++i) data()[i] = fill;
  }

  T* data() { return static_cast<T*>(pages_.data()); }
  T& operator[](int64_t i) { return data()[i]; }
  int64_t size() const { return static_cast<int64_t>(pages_.bytes() / sizeof(T)); }
  // Whether the rest of the accessible pages is as it was.
  bool intact() const { return pages_.intact(); }

 private:
  GuardedPages pages_;
};

/// Calls function(isa, kernels), with the same random numbers each time.
template <typename Function>
void for_each_family(GemmType type, Function function) {
  for (const GemmIsa& isa : gemm_isas())
    for (const GemmKernels* kernels : gemm_families(isa, type)) {
      random_state = 5;
      function(isa, *kernels);
    }
}

}  // namespace tandem::cpu
