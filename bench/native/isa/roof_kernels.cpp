#include "roof_kernels.h"

#include "cpu/isa/vec.h"

#if defined(TANDEM_ISA_SCALAR) && defined(__SSE2__)
#include <emmintrin.h>
#endif

TANDEM_DECLARE_ROOFS(TANDEM_ISA_NS)

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

// Sums kept in memory that the compiler must assume is read.
volatile float sink;

#if defined(TANDEM_ISA_SCALAR) && defined(__SSE2__)

// What plain C++ may use on this processor: vectors of 4, multiplied and added apart.
constexpr int kPeakWidth = 4;
using PeakVec = __m128;
TANDEM_INLINE PeakVec peak_set1(float x) { return _mm_set1_ps(x); }
TANDEM_INLINE PeakVec peak_step(PeakVec a, PeakVec x) { return _mm_add_ps(_mm_mul_ps(a, x), x); }
TANDEM_INLINE float peak_sum(PeakVec a) { return _mm_cvtss_f32(a); }

#else

constexpr int kPeakWidth = kWidth;
using PeakVec = Vec;
TANDEM_INLINE PeakVec peak_set1(float x) { return set1(x); }
TANDEM_INLINE PeakVec peak_step(PeakVec a, PeakVec x) { return fma(a, x, x); }
TANDEM_INLINE float peak_sum(PeakVec a) { return reduce_add(a); }

#endif

double multiply_add(int64_t rounds) {
  // More chains than an instruction's latency times those that start in a cycle.
  constexpr int kChains = 12;
  PeakVec chains[kChains];
  for (PeakVec& chain : chains) chain = peak_set1(0.5F);
  const PeakVec x = peak_set1(0.999F);
  for (int64_t i = 0; i < rounds; ++i) {
#if defined(__GNUC__)
#pragma GCC unroll 12
#endif
    for (PeakVec& chain : chains) chain = peak_step(chain, x);
  }
  for (const PeakVec& chain : chains) sink = peak_sum(chain);
  return static_cast<double>(rounds) * kChains * kPeakWidth * 2;
}

template <int reads>
void read_all(float* const* streams, int64_t begin, int64_t end) {
  constexpr int kSums = 8;
  Vec sums[kSums];
  for (Vec& sum : sums) sum = zero();
  int64_t i = begin;
  for (; i + kSums * kWidth <= end; i += kSums * kWidth) {
    for (int s = 0; s < kSums; ++s) {
      for (int r = 0; r < reads; ++r) sums[s] = sums[s] + load(streams[r] + i + s * kWidth);
    }
  }
  for (int s = 1; s < kSums; ++s) sums[0] = sums[0] + sums[s];
  sink = reduce_add(sums[0]);
}

template <int reads, int writes, bool in_place>
TANDEM_INLINE void step(float* const* from, float* const* to, int64_t i) {
  const Vec half = set1(0.5F);
  Vec loaded[reads];
  for (int r = 0; r < reads; ++r) loaded[r] = load(from[r] + i);
  Vec rest = half;
  for (int r = writes; r < reads; ++r) rest = rest + loaded[r];
  for (int w = 0; w < writes; ++w) store(to[w] + i, fma(loaded[w < reads ? w : 0], half, rest));
}

template <int reads, int writes, bool in_place>
void read_and_write(float* const* streams, int64_t begin, int64_t end) {
  constexpr int kSteps = 4;
  float* from[reads];
  float* to[writes];
  for (int r = 0; r < reads; ++r) from[r] = streams[r];
  for (int w = 0; w < writes; ++w) to[w] = streams[in_place ? w : reads + w];
  for (int64_t i = begin; i + kSteps * kWidth <= end; i += kSteps * kWidth) {
    for (int s = 0; s < kSteps; ++s) step<reads, writes, in_place>(from, to, i + s * kWidth);
  }
}

void sweep(const bench::Traffic& traffic, float* const* streams, int64_t begin, int64_t end) {
  const int kind = traffic.reads * 100 + traffic.writes * 10 + (traffic.in_place ? 1 : 0);
  switch (kind) {
    case 100:
      return read_all<1>(streams, begin, end);
    case 200:
      return read_all<2>(streams, begin, end);
    case 110:
      return read_and_write<1, 1, false>(streams, begin, end);
    case 210:
      return read_and_write<2, 1, false>(streams, begin, end);
    case 310:
      return read_and_write<3, 1, false>(streams, begin, end);
    case 111:
      return read_and_write<1, 1, true>(streams, begin, end);
    case 211:
      return read_and_write<2, 1, true>(streams, begin, end);
    case 321:
      return read_and_write<3, 2, true>(streams, begin, end);
    case 431:
      return read_and_write<4, 3, true>(streams, begin, end);
    default:
      __builtin_trap();  // a case of the benchmarks asks for traffic that is not listed here
  }
}

}  // namespace

const bench::RoofKernels roof_kernels{multiply_add, sweep};

}  // namespace tandem::cpu::TANDEM_ISA_NS
