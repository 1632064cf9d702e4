// Rounding of float operands without instructions for it, and the packing of products that need it.
#include "cpu/isa/gemm_round.h"

#include "cpu/isa/gemm_families.h"
#include "cpu/isa/gemm_kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

// The low halves of the words of two vectors.
TANDEM_INLINE Words low_halves(Words first, Words second) {
#if defined(TANDEM_ISA_AVX512)
  alignas(64) static constexpr uint16_t kEven[32] = {0,  2,  4,  6,  8,  10, 12, 14, 16, 18, 20,
                                                     22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42,
                                                     44, 46, 48, 50, 52, 54, 56, 58, 60, 62};
  return {_mm512_permutex2var_epi16(first.v, _mm512_load_si512(kEven), second.v)};
#elif defined(TANDEM_ISA_AVX2)
  return {_mm256_permute4x64_epi64(_mm256_packus_epi32(first.v, second.v), 0xd8)};
#else
  Words out;
  for (int i = 0; i < kLanes; ++i) {
    const Words& from = 2 * i < kLanes ? first : second;
    const int at = 2 * i % kLanes;
    out.lane[i] = from.lane[at] | static_cast<int32_t>(bits_of(from, at + 1) << 16);
  }
  return out;
#endif
}

struct Round {
  TANDEM_INLINE Words pairs(Lanes low, Lanes high) { return to_bf16(low) | shl<16>(to_bf16(high)); }
  TANDEM_INLINE Words row(Lanes first, Lanes second) {
    return low_halves(to_bf16(first), to_bf16(second));
  }
};

}  // namespace

const GemmRounding kBf16Rounding = rounding_of<Round>();

void round_a_panel(const GemmPlan& plan, const float* a, int64_t rows, int64_t k, int64_t words,
                   char* panel) {
  const GemmDesc& d = plan.desc;
  const GemmRounding& rounding = *d.kernels->rounding;
  if (d.a_col == 1) {
    rounding.along_rows(a, d.a_row, rows, k, words, panel, plan.a_stride);
  } else if (plan.a_stride == 0) {
    rounding.across_rows(a, d.a_col, k, words, panel, {1, rows, kPackedRows * 4, 0});
  } else {
    // Such rows hold whole vectors.
    for (int64_t i = 0; i < rows; i += kLanes)
      for (int64_t w = 0; w < words; w += kLanes)
        rounding.square(a + i + 2 * w * d.a_col, d.a_col, least(rows - i, kLanes), k - 2 * w,
                        panel + i * plan.a_stride + w * d.kernels->a_word, plan.a_stride);
  }
}

void round_packed_panels(const GemmPlan& plan, const float* b, int64_t n, char* packed) {
  const GemmDesc& d = plan.desc;
  const int64_t word = d.kernels->b_word;
  for (int64_t j = 0; j < n; j += kPanelColumns) {
    const int64_t width = n - j > kLanes ? kPanelColumns : kLanes;
    d.kernels->rounding->across_rows(b + j * d.k, width, d.k, plan.k_words,
                                     packed + j * plan.k_words * word, {1, width, width * word, 0});
  }
}

void round_b_panels(const GemmPlan& plan, const float* b, int64_t n, int64_t p0, int64_t p1,
                    int64_t w0, int64_t w1, char* packed) {
  const GemmDesc& d = plan.desc;
  const GemmRounding& rounding = *d.kernels->rounding;
  const int64_t k = d.k - 2 * w0, words = w1 - w0, word = d.kernels->b_word;
  const auto from = [&](int64_t p) { return b + p * kPanelColumns * d.b_col + 2 * w0 * d.b_row; };
  const auto to = [&](int64_t p, int64_t row) {
    return packed + p * kPanelColumns * plan.k_words * word + w0 * row;
  };
  if (d.b_row != 1) {
    // Whole panels together, so that rows are read from end to end; the last one is narrower.
    const int64_t full = most(p0, least(p1, n / kPanelColumns)), panel = kPanelColumns * word;
    rounding.across_rows(from(p0), d.b_row, k, words, to(p0, panel),
                         {full - p0, kPanelColumns, panel, plan.k_words * panel});
    if (full == p1) return;
    const int64_t columns = n - full * kPanelColumns;
    const int64_t row = round_up(columns, kLanes) * word;
    rounding.across_rows(from(full), d.b_row, k, words, to(full, row), {1, columns, row, 0});
    return;
  }
  for (int64_t p = p0; p < p1; ++p) {
    const int64_t columns = least(n - p * kPanelColumns, kPanelColumns);
    const int64_t row = round_up(columns, kLanes) * word;
    for (int64_t j = 0; j < columns; j += kLanes)
      rounding.transposed(from(p) + j * d.b_col, d.b_col, least(columns - j, kLanes), k, words,
                          to(p, row) + j * 4, row);
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
