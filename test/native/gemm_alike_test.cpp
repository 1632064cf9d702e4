// Products of a few rows with weights that were packed before: each row has the bits that it has
// alone, whatever the columns, the words of k and the epilogue.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "check.h"
#include "gemm_support.h"

namespace {

using namespace tandem::cpu;

struct Size {
  int64_t n, k;
};

void twice(const float* in, const float* /*unused*/, float* out, int64_t n, const float* params) {
  for (int64_t i = 0; i < n; ++i) out[i] = in[i] * params[0];
}

GemmDesc describe(const GemmIsa& isa, const Size& s, int64_t m) {
  GemmDesc d = {};
  d.m = m, d.n = s.n, d.k = s.k;
  d.a_row = s.k, d.a_col = 1;
  d.b_row = 1, d.b_col = s.k;
  d.c_row = s.n;
  d.batch[0] = d.batch[1] = 1;
  d.b_packed = true;
  d.units = isa.units;
  return d;
}

std::vector<float> randoms(int64_t size) {
  std::vector<float> all;
  // of many sizes, so that another order of additions shows
  for (int64_t i = 0; i < size; ++i)
    all.push_back(std::ldexp(random_value(), static_cast<int>(random_in(-8, 8))));
  return all;
}

struct Product {
  Size s;
  std::vector<float> a, bias, residual;
  const float* packed;

  // Rows from `row` on, `m` of them.
  [[nodiscard]] std::vector<float> rows(const GemmIsa& isa, int64_t row, int64_t m,
                                        int form) const {
    const GemmPlan plan = isa.plan(describe(isa, s, m));
    std::vector<float> c(static_cast<size_t>(m * s.n), NAN);
    Guarded<uint8_t> scratch(plan.scratch_bytes, 0xee, true);
    constexpr float kTwo = 2;
    GemmEpilogue e = {};
    if (form > 0) e.bias = bias.data();
    if (form == 1) e.activation = GEMM_ACT_RELU;
    if (form == 2) e.residual = residual.data() + row * s.n;
    if (form == 2) e.activation = GEMM_ACT_APPLY;
    e.apply = twice;
    e.params = &kTwo;
    for (int64_t i = 0; i < plan.compute_tiles; ++i)
      isa.compute(plan, a.data() + row * s.k, packed, c.data(), e, i, scratch.data());
    return c;
  }
};

void check(const GemmIsa& isa, const Size& s) {
  const GemmPlan plan = isa.plan(describe(isa, s, kAlikeRows));
  const std::vector<float> b = randoms(s.n * s.k);
  Guarded<float> packed(plan.packed_b_bytes / 4, NAN, true);
  for (int64_t i = 0; i < plan.pack_tiles; ++i) isa.pack(plan, b.data(), packed.data(), i);
  const Product product = {s, randoms(kAlikeRows * s.k), randoms(s.n), randoms(kAlikeRows * s.n),
                           packed.data()};
  const auto bytes = static_cast<size_t>(s.n) * sizeof(float);
  for (int form = 0; form < 3; ++form)
    for (int64_t m = 2; m <= kAlikeRows; ++m) {
      const std::vector<float> some = product.rows(isa, 0, m, form);
      for (int64_t i = 0; i < m; ++i) {
        const std::vector<float> alone = product.rows(isa, i, 1, form);
        CHECK(std::memcmp(alone.data(), some.data() + i * s.n, bytes) == 0);
      }
    }
}

TEST(gemm_gives_a_few_rows_the_bits_of_each_alone) {
  for (const GemmIsa& isa : gemm_isas()) {
    for (const int64_t n : {1, 3, 7, 8, 10, 15, 16, 17, 31, 32, 40, 63, 64, 65, 100, 128, 200, 300})
      for (const int64_t k : {1, 2, 5, 8, 9, 64, 300}) check(isa, {n, k});
    for (const Size& s : {Size{512, 784}, Size{10, 2500}, Size{96, 2500}, Size{130, 1100}})
      check(isa, s);
  }
}

}  // namespace
