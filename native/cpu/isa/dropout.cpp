// dropout: y = x / (1 - rate) where unit_float(word) >= rate, 0 elsewhere. Element i takes word i %
// 4 of philox(key = state.seed, counter_low = i / 4, counter_high = state.step ^ (seed << 32)),
// seed being the op's: the same mask on every device, in the forward and in the backward pass.
#include "core/ops/dropout.h"

#include "core/random.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int64_t kTile = 16384;  // elements: a multiple of every kWords

// ---- Philox, several counters at a time --------------------------------------------------------
// A lane of 64 bits holds one word of one counter in its lower half. Products are whole there, and
// what the upper half is left with changes no later step.

#if defined(TANDEM_ISA_AVX512) || defined(TANDEM_ISA_AVX2)
constexpr int64_t kWords = 2 * kWidth;

#if defined(TANDEM_ISA_AVX512)
using Lanes = __m512i;
TANDEM_INLINE Lanes lanes(uint64_t x) { return _mm512_set1_epi64(static_cast<int64_t>(x)); }
TANDEM_INLINE Lanes add64(Lanes a, Lanes b) { return _mm512_add_epi64(a, b); }
TANDEM_INLINE Lanes product(Lanes a, Lanes b) { return _mm512_mul_epu32(a, b); }
TANDEM_INLINE Lanes upper(Lanes a) { return _mm512_srli_epi64(a, 32); }
TANDEM_INLINE Lanes xor3(Lanes a, Lanes b, Lanes c0) {
  return _mm512_ternarylogic_epi64(a, b, c0, 0x96);
}
TANDEM_INLINE Lanes pair(Lanes low, Lanes high) {
  return _mm512_mask_blend_epi32(0xaaaa, low, _mm512_slli_epi64(high, 32));
}
TANDEM_INLINE IVec unpack_low(Lanes a, Lanes b) { return {_mm512_unpacklo_epi64(a, b)}; }
TANDEM_INLINE IVec unpack_high(Lanes a, Lanes b) { return {_mm512_unpackhi_epi64(a, b)}; }
/// Such that the lower words of lane pairs are the first half of the counters.
TANDEM_INLINE Lanes lane_counters() { return _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7); }
#else
using Lanes = __m256i;
TANDEM_INLINE Lanes lanes(uint64_t x) { return _mm256_set1_epi64x(static_cast<int64_t>(x)); }
TANDEM_INLINE Lanes add64(Lanes a, Lanes b) { return _mm256_add_epi64(a, b); }
TANDEM_INLINE Lanes product(Lanes a, Lanes b) { return _mm256_mul_epu32(a, b); }
TANDEM_INLINE Lanes upper(Lanes a) { return _mm256_srli_epi64(a, 32); }
TANDEM_INLINE Lanes xor3(Lanes a, Lanes b, Lanes c0) {
  return _mm256_xor_si256(_mm256_xor_si256(a, b), c0);
}
TANDEM_INLINE Lanes pair(Lanes low, Lanes high) {
  return _mm256_blend_epi32(low, _mm256_slli_epi64(high, 32), 0xaa);
}
TANDEM_INLINE IVec unpack_low(Lanes a, Lanes b) { return {_mm256_unpacklo_epi64(a, b)}; }
TANDEM_INLINE IVec unpack_high(Lanes a, Lanes b) { return {_mm256_unpackhi_epi64(a, b)}; }
TANDEM_INLINE Lanes lane_counters() { return _mm256_setr_epi64x(0, 2, 1, 3); }
#endif

/// kWords random words in the order of the elements.
TANDEM_INLINE void random_words(uint64_t key, uint64_t counter, uint64_t counter_high,
                                IVec (&words)[kWords / kWidth]) {
  const Lanes m0 = lanes(0xD2511F53U);
  const Lanes m1 = lanes(0xCD9E8D57U);
  Lanes x0 = add64(lanes(counter), lane_counters());
  Lanes x1 = upper(x0);
  Lanes x2 = lanes(counter_high);
  Lanes x3 = upper(x2);
  auto k0 = static_cast<uint32_t>(key);
  auto k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const Lanes p0 = product(x0, m0);
    const Lanes p1 = product(x2, m1);
    x0 = xor3(upper(p1), x1, lanes(k0));
    x2 = xor3(upper(p0), x3, lanes(k1));
    x1 = p1;
    x3 = p0;
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  const Lanes a = pair(x0, x1);
  const Lanes b = pair(x2, x3);
  words[0] = unpack_low(a, b);
  words[1] = unpack_high(a, b);
}
#else
constexpr int64_t kWords = 4;

TANDEM_INLINE void random_words(uint64_t key, uint64_t counter, uint64_t counter_high,
                                IVec (&words)[kWords / kWidth]) {
  const Philox random = philox(key, counter, counter_high);
  for (int i = 0; i < 4; ++i) words[i] = {static_cast<int32_t>(random.word[i])};
}
#endif

// ---- the op ------------------------------------------------------------------------------------

struct DropoutParams {
  int64_t n;
  uint64_t seed;
  int32_t threshold;  // an element stays when the upper 24 bits of its word are not below
  float scale;
};

void dropout_tile(const void* params, void* const* operands, int64_t tile,
                  const TileContext& context) {
  const auto& p = params_of<DropoutParams>(params);
  const auto* x = static_cast<const float*>(operands[0]);
  auto* y = static_cast<float*>(operands[1]);
  const uint64_t key = context.state->seed;
  const uint64_t counter_high = context.state->step ^ (p.seed << 32);
  const Vec scale = set1(p.scale);
  const IVec threshold = iset1(p.threshold);
  const Range range = piece(tile, kTile, p.n);
  for (int64_t i = range.begin; i < range.end; i += kWords) {
    IVec words[kWords / kWidth];
    random_words(key, static_cast<uint64_t>(i) / 4, counter_high, words);
    const bool whole = i + kWords <= range.end;
    for (int64_t k = 0; k < kWords / kWidth; ++k) {
      const int64_t at = i + k * kWidth;
      const Mask drop = threshold > shr_unsigned<8>(words[k]);
      if (whole) {
        store(y + at, select(drop, zero(), load(x + at) * scale));
      } else if (at < range.end) {
        store_partial(y + at, select(drop, zero(), load_partial(x + at, range.end - at) * scale),
                      range.end - at);
      }
    }
  }
}

}  // namespace

void launch_dropout(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::Dropout::Attributes>(node);
  // unit_float(word) is the integer word >> 8 by 2^-24, and so exactly comparable with rate by
  // 2^24.
  const double threshold = __builtin_ceil(static_cast<double>(attributes.rate) * 0x1p24);
  const DropoutParams p{node.outputs[0]->numel, static_cast<uint64_t>(attributes.seed),
                        static_cast<int32_t>(threshold), 1.0F / (1.0F - attributes.rate)};
  emit_step(emit, dropout_tile, p, ceil_div(p.n, kTile),
            20.0 + (kWidth == 1 ? 5.0 : 0.6) * static_cast<double>(p.n));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
