// Register kernels of int8 without dot products of bytes: pairs of 16-bit integers are multiplied
// and added, which cannot overflow. A is copied as 16 bits; B stays at a byte a weight and is
// extended as it is loaded, so a word of it is a pair of bytes.
#include "cpu/isa/gemm_finish.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

#if defined(TANDEM_ISA_AVX512)
TANDEM_INLINE Words load_pairs(const char* p) {
  return {_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
TANDEM_INLINE Words multiply_add(Words a, Words b, Words sum) {
  return {_mm512_add_epi32(sum.v, _mm512_madd_epi16(a.v, b.v))};
}
#elif defined(TANDEM_ISA_AVX2)
TANDEM_INLINE Words load_pairs(const char* p) {
  return {_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
TANDEM_INLINE Words multiply_add(Words a, Words b, Words sum) {
  return {_mm256_add_epi32(sum.v, _mm256_madd_epi16(a.v, b.v))};
}
#else
struct Pair {
  int16_t low, high;
};
TANDEM_INLINE Words load_pairs(const char* p) {
  Words out;
  for (int i = 0; i < kLanes; ++i) {
    int8_t bytes[2];
    std::memcpy(bytes, p + 2 * i, 2);
    const Pair pair = {bytes[0], bytes[1]};
    std::memcpy(&out.lane[i], &pair, 4);
  }
  return out;
}
TANDEM_INLINE Words multiply_add(Words a, Words b, Words sum) {
  for (int i = 0; i < kLanes; ++i) {
    Pair x, y;
    std::memcpy(&x, &a.lane[i], 4);
    std::memcpy(&y, &b.lane[i], 4);
    const auto product = static_cast<uint32_t>(x.low * y.low + x.high * y.high);
    sum.lane[i] = static_cast<int32_t>(static_cast<uint32_t>(sum.lane[i]) + product);
  }
  return sum;
}
#endif

struct S8 {
  using Sum = Words;
  using Operand = Words;
  static constexpr int kParts = 1, kWordBytes = 2;
  static constexpr bool kHasFirst = false;

  TANDEM_INLINE Sum start(const MicroArgs& t, int j) { return start_integers(t, j); }
  TANDEM_INLINE Operand a(const char* p, int /*part*/) { return spread_from(p); }
  TANDEM_INLINE Operand b(const char* p, int /*part*/) { return load_pairs(p); }
  TANDEM_INLINE Operand b(const char* p, int /*part*/, int /*columns*/) { return load_pairs(p); }
  TANDEM_INLINE Sum dot(Operand a, Operand b, Sum sum) { return multiply_add(a, b, sum); }
  template <int M, int N>
  TANDEM_INLINE void finish(const MicroArgs& t, Sum (&acc)[M][N]) {
    finish_integers(t, acc);
  }
};

constexpr MicroKernel kMicro[4 * kPanelRows] = TANDEM_MICRO_KERNELS(S8);

bool always() { return true; }

}  // namespace

const GemmKernels kS8Kernels = {.name = "s8",
                                .available = always,
                                .type = GEMM_S8,
                                .group = 2,
                                .k_step = 1,
                                .fills_k = true,
                                .steps_per_word = 2.5,
                                .a_word = 4,
                                .b_word = 2,
                                .a_in_place = false,
                                .a_panels = true,
                                .rounding = nullptr,
                                .panel_rows = kPanelRows,
                                .wide4_rows = kWide4Rows,
                                .wide8_rows = kWide8Rows,
                                .best_rows = kPanelRows,
                                .row_unit = 1,
                                .splits = false,
                                .keeps_sums = false,
                                .micro = kMicro,
                                .alike = nullptr,
                                .few_rows = 0,
                                .for_few_rows = nullptr,
                                .state_bytes = 0,
                                .begin = nullptr,
                                .settle = nullptr,
                                .flush = nullptr,
                                .end = nullptr};

}  // namespace tandem::cpu::TANDEM_ISA_NS
