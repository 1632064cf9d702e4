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

// Stores a vector, past the caches where the instruction set can.
#if defined(TANDEM_ISA_AVX512)
TANDEM_INLINE void stream(float* to, Vec x) { _mm512_stream_ps(to, x.v); }
#elif defined(TANDEM_ISA_AVX2)
TANDEM_INLINE void stream(float* to, Vec x) { _mm256_stream_ps(to, x.v); }
#else
TANDEM_INLINE void stream(float* to, Vec x) { store(to, x); }
#endif

// What was stored past the caches is seen before anything that follows.
TANDEM_INLINE void finish_streaming() {
#if defined(TANDEM_ISA_AVX512) || defined(TANDEM_ISA_AVX2)
  _mm_sfence();
#endif
}

template <int reads>
void read_all(float* const* streams, const bench::Passes& passes) {
  constexpr int kSums = 8;
  Vec sums[kSums];
  for (Vec& sum : sums) sum = zero();
  for (int64_t pass = 0; pass < passes.count; ++pass) {
    for (int64_t i = passes.begin; i + kSums * kWidth <= passes.end; i += kSums * kWidth) {
      for (int s = 0; s < kSums; ++s) {
        for (int r = 0; r < reads; ++r) sums[s] = sums[s] + load(streams[r] + i + s * kWidth);
      }
    }
  }
  for (int s = 1; s < kSums; ++s) sums[0] = sums[0] + sums[s];
  sink = reduce_add(sums[0]);
}

// Loads `vectors` vectors of each stream, then stores as many.
template <int reads, int writes, int vectors, bool past_caches>
TANDEM_INLINE void step(float* const* from, float* const* to, int64_t i) {
  const Vec half = set1(0.5F);
  Vec loaded[vectors][reads];
  for (int v = 0; v < vectors; ++v) {
    for (int r = 0; r < reads; ++r) loaded[v][r] = load(from[r] + i + v * kWidth);
  }
  for (int v = 0; v < vectors; ++v) {
    Vec rest = half;
    for (int r = writes; r < reads; ++r) rest = rest + loaded[v][r];
    for (int w = 0; w < writes; ++w) {
      const Vec result = fma(loaded[v][w < reads ? w : 0], half, rest);
      float* const place = to[w] + i + v * kWidth;
      if constexpr (past_caches)
        stream(place, result);
      else
        store(place, result);
    }
  }
}

template <int reads, int writes, bool in_place, bench::Way way>
void read_and_write(float* const* streams, const bench::Passes& passes) {
  constexpr int kVectors = way == bench::Way::kFours ? 4 : 1;
  constexpr int kSteps = 4 * kWidth;
  float* from[reads];
  float* to[writes];
  for (int r = 0; r < reads; ++r) from[r] = streams[r];
  for (int w = 0; w < writes; ++w) to[w] = streams[in_place ? w : reads + w];
  for (int64_t pass = 0; pass < passes.count; ++pass) {
    for (int64_t i = passes.begin; i + kSteps <= passes.end; i += kSteps) {
      for (int s = 0; s < kSteps; s += kVectors * kWidth)
        step<reads, writes, kVectors, way == bench::Way::kStreaming>(from, to, i + s);
    }
  }
  if constexpr (way == bench::Way::kStreaming) finish_streaming();
}

template <int reads, int writes, bool in_place>
void sweep_in(bench::Way way, float* const* streams, const bench::Passes& passes) {
  using bench::Way;
  if constexpr (!in_place) {
    if (way == Way::kStreaming)
      return read_and_write<reads, writes, in_place, Way::kStreaming>(streams, passes);
  }
  if (way == Way::kFours)
    return read_and_write<reads, writes, in_place, Way::kFours>(streams, passes);
  read_and_write<reads, writes, in_place, Way::kSteps>(streams, passes);
}

void sweep(const bench::Traffic& traffic, bench::Way way, float* const* streams,
           const bench::Passes& passes) {
  const int kind = traffic.reads * 100 + traffic.writes * 10 + (traffic.in_place ? 1 : 0);
  switch (kind) {
    case 100:
      return read_all<1>(streams, passes);
    case 200:
      return read_all<2>(streams, passes);
    case 110:
      return sweep_in<1, 1, false>(way, streams, passes);
    case 210:
      return sweep_in<2, 1, false>(way, streams, passes);
    case 310:
      return sweep_in<3, 1, false>(way, streams, passes);
    case 111:
      return sweep_in<1, 1, true>(way, streams, passes);
    case 211:
      return sweep_in<2, 1, true>(way, streams, passes);
    case 321:
      return sweep_in<3, 2, true>(way, streams, passes);
    case 431:
      return sweep_in<4, 3, true>(way, streams, passes);
    default:
      __builtin_trap();  // a case of the benchmarks asks for traffic that is not listed here
  }
}

}  // namespace

const bench::RoofKernels roof_kernels{multiply_add, sweep};

}  // namespace tandem::cpu::TANDEM_ISA_NS
