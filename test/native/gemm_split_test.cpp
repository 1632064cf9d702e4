// Products of floats that are split in three bfloat16: as exact as those of the floats, and the
// same where a number is none.
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "check.h"
#include "cpu/float_tiles.h"
#include "gemm_support.h"

namespace {

using namespace tandem::cpu;

struct Product {
  int64_t m, n, k;
  std::vector<float> a, b, c;  // [m, k], [k, n] or by columns, [m, n]
  bool by_columns = false;

  Product(int64_t rows, int64_t columns, int64_t depth, const std::function<float()>& number)
      : m(rows),
        n(columns),
        k(depth),
        a(static_cast<size_t>(rows * depth)),
        b(static_cast<size_t>(depth * columns)),
        c(static_cast<size_t>(rows * columns)) {
    for (float& x : a) x = number();
    for (float& x : b) x = number();
  }

  void run(const GemmIsa& isa, bool a_first) {
    GemmDesc d = {};
    d.m = m, d.n = n, d.k = k;
    d.a_row = k, d.c_row = n, d.a_col = 1;
    d.b_row = by_columns ? 1 : n, d.b_col = by_columns ? k : 1;
    d.batch[0] = d.batch[1] = 1;
    d.pack_a_first = a_first;
    d.units = isa.units;
    d.kernels = isa.floats;
    const GemmPlan plan = isa.plan(d);
    Guarded<char> packed(plan.packed_b_bytes, 0, true), packed_a(plan.packed_a_bytes, 0, true);
    Guarded<char> scratch(plan.scratch_bytes, 0, true);
    for (int64_t i = 0; i < plan.pack_tiles; ++i) isa.pack(plan, b.data(), packed.data(), i);
    for (int64_t i = 0; i < plan.pack_a_tiles; ++i) isa.pack_a(plan, a.data(), packed_a.data(), i);
    const void* a_used = plan.pack_a_tiles > 0 ? packed_a.data() : static_cast<void*>(a.data());
    const void* b_used = reads_packed(plan) ? packed.data() : static_cast<void*>(b.data());
    for (int64_t i = 0; i < plan.compute_tiles; ++i)
      isa.compute(plan, a_used, b_used, c.data(), {}, i, scratch.data());
  }

  [[nodiscard]] float a_at(int64_t i, int64_t l) const { return a[static_cast<size_t>(i * k + l)]; }
  [[nodiscard]] float b_at(int64_t l, int64_t j) const {
    return b[static_cast<size_t>(by_columns ? j * k + l : l * n + j)];
  }
  [[nodiscard]] float c_at(int64_t i, int64_t j) const { return c[static_cast<size_t>(i * n + j)]; }

  /// The sum in double, and that of its terms without their signs.
  [[nodiscard]] double sum(int64_t i, int64_t j, double& size) const {
    double sum = 0;
    size = 0;
    for (int64_t l = 0; l < k; ++l) {
      const double term = static_cast<double>(a_at(i, l)) * static_cast<double>(b_at(l, j));
      sum += term;
      size += std::fabs(term);
    }
    return sum;
  }
};

std::vector<GemmIsa> splitting_isas() {
  std::vector<GemmIsa> all;
  for (const GemmIsa& isa : float_isas())
    if (isa.floats && isa.floats->splits) all.push_back(isa);
  return all;
}

/// Any 24 bits, from 2^-30 to 2^30.
float wide_number() {
  const auto mantissa = static_cast<double>(random_in(1 << 23, (1 << 24) - 1));
  const double sign = next_random() >> 31 ? -1.0 : 1.0;
  return static_cast<float>(sign * std::ldexp(mantissa, static_cast<int>(random_in(-53, 7))));
}

TEST(gemm_split_multiplies_all_bits_of_floats) {
  for (const GemmIsa& isa : splitting_isas()) {
    random_state = 3;
    Product p(40, 50, 1, wide_number);
    p.run(isa, false);
    for (int64_t i = 0; i < p.m; ++i)
      for (int64_t j = 0; j < p.n; ++j) {
        double size = 0;
        const double want = p.sum(i, j, size);
        CHECK(std::fabs(p.c_at(i, j) - want) <= 0x1p-22 * std::fabs(want));
      }
  }
}

// The lower parts of such numbers are no normal ones: they may be lost, and nothing else.
TEST(gemm_split_keeps_small_numbers_small) {
  const auto small = [] {
    return random_value() * std::ldexp(1.0F, static_cast<int>(random_in(-149, -80)));
  };
  for (const GemmIsa& isa : splitting_isas())
    for (const bool by_columns : {false, true})
      for (const bool of_a : {false, true}) {
        random_state = 6;
        Product p(33, 40, 70, random_value);
        p.by_columns = by_columns;
        for (float& x : of_a ? p.a : p.b) x = small();
        p.run(isa, true);
        for (int64_t i = 0; i < p.m; ++i)
          for (int64_t j = 0; j < p.n; ++j) {
            double size = 0;
            const double want = p.sum(i, j, size);
            const double lost = 0x1p-124 * static_cast<double>(p.k);
            CHECK(std::fabs(p.c_at(i, j) - want) <= 1e-6 * size + lost);
          }
      }
}

TEST(gemm_split_sums_are_as_exact_as_those_of_floats) {
  for (const GemmIsa& isa : splitting_isas())
    for (const int64_t k : {31, 384, 1400}) {
      random_state = 9;
      Product p(33, 70, k, random_value);
      const auto error = [&] {
        double sum = 0;
        for (int64_t i = 0; i < p.m; ++i)
          for (int64_t j = 0; j < p.n; ++j) {
            double size = 0;
            sum += std::pow(p.c_at(i, j) - p.sum(i, j, size), 2);
          }
        return std::sqrt(sum);
      };
      p.run(isa, true);
      const double split = error();
      GemmIsa whole = isa;
      whole.floats = isa.kernels(GEMM_F32)[0];
      p.run(whole, true);
      CHECK(!whole.floats->splits);
      CHECK(split <= error());
    }
}

TEST(gemm_split_of_small_integers_is_exact) {
  for (const GemmIsa& isa : splitting_isas()) {
    random_state = 4;
    Product p(35, 35, 100, [] { return static_cast<float>(random_in(-255, 255)); });
    p.run(isa, true);
    for (int64_t i = 0; i < p.m; ++i)
      for (int64_t j = 0; j < p.n; ++j) {
        double size = 0;
        CHECK(static_cast<double>(p.c_at(i, j)) == p.sum(i, j, size));
      }
  }
}

/// Whether a sum in float is what `want` says of one in double.
bool agrees(float got, double want, double size) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  if (std::isnan(want)) return std::isnan(got);
  if (std::fabs(want) > 1.01 * kLargest)
    return std::isinf(got) && std::signbit(got) == std::signbit(want);
  return std::fabs(got - want) <= 1e-6 * size;
}

TEST(gemm_split_knows_infinity_and_what_is_no_number) {
  const float inf = std::numeric_limits<float>::infinity();
  const float special[] = {inf,    -inf,    std::nanf(""), std::numeric_limits<float>::max(),
                           -3e38F, 3.4e38F, 0.0F};
  for (const GemmIsa& isa : splitting_isas())
    for (int turn = 0; turn < 60; ++turn) {
      random_state = static_cast<uint32_t>(turn + 1);
      Product p(random_in(1, 70), random_in(1, 70), turn % 3 ? random_in(1, 90) : 1100, [] {
        // Numbers of few bits, whose other parts are zero, and of many.
        return next_random() >> 31 ? random_value() : static_cast<float>(random_in(-4, 4));
      });
      const float x = special[turn % 7], y = special[turn / 7 % 7];
      p.a[static_cast<size_t>(random_in(0, p.m * p.k - 1))] = x;
      if (turn % 2) p.b[static_cast<size_t>(random_in(0, p.k * p.n - 1))] = y;
      p.run(isa, turn % 4 < 2);
      bool good = true;
      for (int64_t i = 0; i < p.m; ++i)
        for (int64_t j = 0; j < p.n; ++j) {
          double size = 0;
          const double want = p.sum(i, j, size);
          good = good && agrees(p.c_at(i, j), want, size);
        }
      if (!good) std::printf("%s turn %d\n", isa.floats->name, turn);
      CHECK(good);
    }
}

// Small products are not worth splitting.
TEST(gemm_splits_floats_where_that_is_faster) {
  for (const GemmIsa& isa : gemm_isas()) {
    bool has = false;
    for (const GemmKernels* kernels : gemm_families(isa, GEMM_F32))
      has = has || (float_tiles() && kernels == isa.kernels(GEMM_F32)[1]);
    const auto splits = [&](int64_t m, int64_t n, int64_t k, bool packed) {
      GemmDesc d = {};
      d.m = m, d.n = n, d.k = k;
      d.a_row = k, d.b_row = d.c_row = n, d.a_col = d.b_col = 1;
      d.batch[0] = d.batch[1] = 1;
      d.b_packed = packed;
      return isa.plan(d).desc.kernels->splits;
    };
    CHECK(splits(256, 256, 256, false) == has);
    CHECK(splits(512, 256, 256, true) == has);
    CHECK(!splits(256, 256, 256, true));
    for (const int64_t m : {1, 8, 33}) CHECK(!splits(m, 64, 64, false));
    CHECK(!splits(512, 10, 256, false));
  }
}

}  // namespace
