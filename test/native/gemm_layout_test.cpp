// Weights are packed once, for products of any number of rows: the kernels that a product gets by
// its rows read the same layout.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "check.h"
#include "gemm_support.h"

namespace {

using namespace tandem::cpu;

constexpr int64_t kRows = 70, kColumns = 41;

// Small integers, whose sums are exact in whatever order; `size` of them.
std::vector<uint8_t> small_integers(GemmType type, int64_t size) {
  std::vector<uint8_t> all;
  for (int64_t i = 0; i < size; ++i) {
    const auto value = static_cast<uint8_t>(random_in(0, 3));
    if (type == GEMM_S8) {
      all.push_back(value);
      continue;
    }
    const uint16_t halves[] = {0, 0x3f80, 0x4000, 0x4040};  // 0 to 3 as bfloat16
    all.push_back(static_cast<uint8_t>(halves[value] & 0xff));
    all.push_back(static_cast<uint8_t>(halves[value] >> 8));
  }
  return all;
}

GemmDesc describe(GemmType type, int64_t m, int64_t k) {
  GemmDesc d = {};
  d.m = m, d.n = kColumns, d.k = k;
  d.a_row = k, d.a_col = 1;
  d.b_row = kColumns, d.b_col = 1;
  d.c_row = kColumns;
  d.batch[0] = d.batch[1] = 1;
  d.b_packed = true;
  d.type = type;
  d.c_type = type == GEMM_S8 ? GEMM_TO_S32 : GEMM_TO_F32;
  return d;
}

std::vector<int32_t> multiply(const GemmIsa& isa, const GemmPlan& plan, const uint8_t* a,
                              const uint8_t* packed) {
  std::vector<int32_t> c(static_cast<size_t>(plan.desc.m * kColumns));
  Guarded<uint8_t> scratch(plan.scratch_bytes, 0xee, true);
  for (int64_t i = 0; i < plan.compute_tiles; ++i)
    isa.compute(plan, a, packed, c.data(), {}, i, scratch.data());
  return c;
}

TEST(gemm_reads_the_same_packed_b_for_any_number_of_rows) {
  for (const GemmIsa& isa : gemm_isas())
    for (const GemmType type : {GEMM_BF16, GEMM_S8})
      for (const int64_t k : {1, 20, 43, 63, 64, 65, 127, 784, 1700}) {
        const std::vector<uint8_t> a = small_integers(type, kRows * k);
        const std::vector<uint8_t> b = small_integers(type, k * kColumns);
        const GemmPlan many = isa.plan(describe(type, kRows, k));
        Guarded<uint8_t> packed(many.packed_b_bytes, 0xee, true);
        for (int64_t i = 0; i < many.pack_tiles; ++i) isa.pack(many, b.data(), packed.data(), i);
        const std::vector<int32_t> all = multiply(isa, many, a.data(), packed.data());
        for (const int64_t m : {1, 2, 4, 5, 16, 33}) {
          const GemmPlan few = isa.plan(describe(type, m, k));
          CHECK(few.packed_b_bytes == many.packed_b_bytes);
          const std::vector<int32_t> some = multiply(isa, few, a.data(), packed.data());
          CHECK(std::equal(some.begin(), some.end(), all.begin()));
        }
      }
}

}  // namespace
