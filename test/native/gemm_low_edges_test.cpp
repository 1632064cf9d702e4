// Where products of bfloat16 and int8 end within a tile, a vector or a word, in every combination
// of what a caller may ask for: A read in place and packed, C with gaps behind its rows, sums that
// are kept between steps of k. Operands end or start at a page that must not be touched.
#include <cstdint>

#include "check.h"
#include "gemm_low_case.h"

namespace {

using namespace tandem::cpu;
using namespace tandem::cpu::low;

template <size_t count>
int64_t one_of(const int64_t (&values)[count]) {
  return values[random_in(0, static_cast<int64_t>(count) - 1)];
}

// Around the heights and widths of tiles and panels, and the ends of words and of steps of k.
Case edge_case(GemmType type) {
  static constexpr int64_t kRows[] = {1, 4, 5, 13, 15, 16, 17, 31, 32, 33, 40, 47, 48, 49, 64, 65};
  static constexpr int64_t kColumns[] = {1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 65};
  static constexpr int64_t kLengths[] = {1,  3,   31,  32,  33,  61,  63,  64,  65,  66,
                                         95, 126, 127, 128, 129, 131, 191, 192, 255, 257};
  static constexpr int64_t kLong[] = {767, 769, 1531, 1537, 1601, 2049};
  Case t;
  t.type = type;
  t.m = one_of(kRows), t.n = one_of(kColumns);
  t.k = random_in(0, 19) == 0 ? one_of(kLong) : one_of(kLengths);
  t.a_transposed = random_in(0, 3) == 0;
  t.b_transposed = coin();
  t.frozen = coin();
  t.one_block = random_in(0, 3) == 0;
  t.gap = coin() ? random_in(1, 9) : 0;
  t.batch = random_in(0, 3) == 0 ? 2 : 1;
  t.b_repeats = coin();
  t.reverse = coin();
  t.activation = static_cast<GemmActivation>(random_in(0, 2));
  return t;
}

Case bf16_edge() {
  Case t = edge_case(GEMM_BF16);
  t.from_float = coin();
  t.a_first = t.from_float && coin();
  t.c_type = coin() ? GEMM_TO_F32 : GEMM_TO_BF16;
  t.bias = coin();
  t.pre = random_in(0, 3) == 0;
  t.gradient = random_in(0, 5) == 0;
  t.accumulate = random_in(0, 2) == 0;
  t.residual = !t.accumulate && coin();
  t.row_bias = !t.accumulate && !t.residual && t.c_type == GEMM_TO_F32;
  return t;
}

Case s8_edge() {
  Case t = edge_case(GEMM_S8);
  const GemmElement types[] = {GEMM_TO_S32, GEMM_TO_F32, GEMM_TO_S8, GEMM_TO_U8};
  t.c_type = types[random_in(0, 3)];
  t.a_signed = random_in(0, 2) == 0;
  t.a_zero = coin() ? static_cast<int>(random_in(-120, 200)) : 0;
  t.row_zero = random_in(0, 2) == 0;
  // Those of one B, and not more than halves hold.
  if (t.frozen && (t.b_repeats || t.batch == 1) && coin()) t.sum_bytes = t.k <= 255 ? 2 : 4;
  if (t.c_type == GEMM_TO_S32) {
    t.activation = GEMM_ACT_NONE;
    return t;
  }
  t.bias = coin();
  t.scale = coin();
  t.row_scale = random_in(0, 2) == 0;
  t.exact_scale = t.c_type != GEMM_TO_F32 && t.scale && coin();
  t.c_zero = static_cast<int>(t.c_type == GEMM_TO_S8 ? random_in(-128, 127) : random_in(0, 255));
  if (t.c_type == GEMM_TO_F32) {
    t.pre = random_in(0, 3) == 0;
    t.gradient = random_in(0, 5) == 0;
    t.residual = coin();
  }
  return t;
}

TEST(gemm_low_touches_nothing_beyond_its_operands) {
  for_each_family(GEMM_BF16, [](const GemmIsa& isa, const GemmKernels& kernels) {
    for (int i = 0; i < 600; ++i) run_case(isa, kernels, bf16_edge());
  });
  for_each_family(GEMM_S8, [](const GemmIsa& isa, const GemmKernels& kernels) {
    for (int i = 0; i < 600; ++i) run_case(isa, kernels, s8_edge());
  });
}

}  // namespace
