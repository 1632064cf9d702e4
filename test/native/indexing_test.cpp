// gather, gatherGrad, pad, cumsum, flip and where against plain index arithmetic.
#include "check.h"
#include "core/ops/cumsum.h"
#include "core/ops/flip.h"
#include "core/ops/gather.h"
#include "core/ops/pad.h"
#include "core/ops/where.h"
#include "dims.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;

namespace {

/// Numbers from `low` to `high` inclusive.
std::vector<int32_t> random_integers(int64_t n, int32_t low, int32_t high, uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<int32_t> v(static_cast<size_t>(n));
  const int64_t span = int64_t{high} - low + 1;
  for (int32_t& x : v) x = static_cast<int32_t>(low + static_cast<int64_t>(engine()) % span);
  return v;
}

struct Line {
  int64_t outer, length, count, inner;
};

}  // namespace

TEST(gather_reads_and_its_gradient_adds_along_an_axis) {
  for (const Line& c : {Line{4, 7, 3, 1}, Line{1, 5, 9, 1}, Line{3, 4, 6, 5}, Line{1, 30, 70, 700},
                        Line{900, 33, 21, 1}, Line{2, 1, 3, 17}, Line{5, 3, 0, 2}, Line{0, 3, 2, 2},
                        Line{1, 40000, 30000, 1}}) {
    const Dims dims{c.outer, c.length, c.inner};
    const Dims out_dims{c.outer, c.count, c.inner};
    const auto n = static_cast<size_t>(count_of(out_dims));
    const auto index = random_integers(count_of(out_dims), -1, static_cast<int32_t>(c.length), 4);
    const auto x = random_floats(count_of(dims), 5);
    const auto whole = random_integers(count_of(dims), -1000, 1000, 6);
    const auto dy = random_floats(count_of(out_dims), 7);
    std::vector<double> expected(x.size(), 0.0);
    std::vector<int64_t> source(n, -1);
    for (size_t i = 0; i < n; ++i) {
      Dims at = indices(out_dims, static_cast<int64_t>(i));
      at[1] = index[i];
      if (at[1] < 0 || at[1] >= c.length) continue;
      source[i] = (at[0] * c.length + at[1]) * c.inner + at[2];
      expected[static_cast<size_t>(source[i])] += static_cast<double>(dy[i]);
    }
    const ops::GatherAttributes attributes{1, c.length};
    for (const Isa& isa : isas()) {
      NodeRunner floats(Op::gather, attributes);
      floats.input(dims, x).input(out_dims, index).output(out_dims).run(isa);
      const auto y = floats.result();
      NodeRunner integers(Op::gather, attributes);
      integers.input(dims, whole).input(out_dims, index).output(out_dims).run(isa);
      const auto z = integers.result_bits();
      int64_t wrong = 0;
      for (size_t i = 0; i < n; ++i) {
        const auto from = static_cast<size_t>(source[i]);
        wrong += source[i] < 0 ? !std::isnan(y[i]) : y[i] != x[from];
      }
      CHECK(wrong == 0);
      for (size_t i = 0; i < n; ++i)
        wrong += z[i] != (source[i] < 0 ? 0 : whole[static_cast<size_t>(source[i])]);
      CHECK(wrong == 0);
      NodeRunner back(Op::gatherGrad, attributes);
      back.input(out_dims, index).input(out_dims, dy).output(dims).run(isa);
      CHECK(distance(back.result(), expected) < 1e-6);
    }
  }
}

TEST(pad_puts_values_around) {
  struct Case {
    Dims dims, before, after;
  };
  for (const Case& c :
       {Case{{2, 4, 3}, {0, 0, 1}, {0, 1, 2}}, Case{{5}, {0}, {0}}, Case{{}, {}, {}},
        Case{{7}, {3}, {40000}}, Case{{3, 5}, {2, 0}, {1, 0}},
        Case{{3, 400, 70}, {0, 1, 0}, {0, 0, 0}}, Case{{1, 2, 3, 4}, {1, 0, 2, 0}, {0, 3, 0, 1}},
        Case{{40, 600}, {0, 0}, {0, 5}}, Case{{0, 3}, {2, 1}, {1, 0}},
        Case{{2, 0, 3}, {0, 0, 1}, {0, 0, 1}}}) {
    Dims out_dims = c.dims;
    for (size_t i = 0; i < out_dims.size(); ++i) out_dims[i] += c.before[i] + c.after[i];
    const auto x = random_integers(count_of(c.dims), INT32_MIN / 2, INT32_MAX / 2, 9);
    const float value = 0.5F;
    int32_t fill = 0;
    std::memcpy(&fill, &value, sizeof fill);
    const ops::PadAttributes attributes{list_of(c.before), list_of(c.after), 0.5};
    for (const Isa& isa : isas()) {
      NodeRunner node(Op::pad, attributes);
      std::vector<float> bits(x.size());
      if (!x.empty()) std::memcpy(bits.data(), x.data(), x.size() * sizeof(float));
      node.input(c.dims, bits).output(out_dims).run(isa);
      const auto y = node.result_bits();
      int64_t wrong = 0;
      for (size_t i = 0; i < y.size(); ++i) {
        Dims at = indices(out_dims, static_cast<int64_t>(i));
        bool inside = true;
        for (size_t k = 0; k < at.size(); ++k) {
          at[k] -= c.before[k];
          inside = inside && at[k] >= 0 && at[k] < c.dims[k];
        }
        const int32_t wanted = inside ? x[static_cast<size_t>(flat(c.dims, at))] : fill;
        wrong += y[i] != wanted;
      }
      CHECK(wrong == 0);
    }
  }
}

TEST(cumsum_adds_up_both_ways) {
  for (const Line& c : {Line{1, 1, 0, 1}, Line{7, 33, 0, 1}, Line{3, 5, 0, 4}, Line{2, 9, 0, 300},
                        Line{1, 50000, 0, 1}, Line{1, 3000, 0, 19}, Line{300, 200, 0, 1},
                        Line{0, 4, 0, 2}, Line{4, 0, 0, 3}}) {
    const Dims dims{c.outer, c.length, c.inner};
    const auto x = random_floats(count_of(dims), 11);
    for (const bool reverse : {false, true}) {
      std::vector<double> expected(x.size());
      for (int64_t o = 0; o < c.outer; ++o) {
        for (int64_t j = 0; j < c.inner; ++j) {
          double sum = 0;
          for (int64_t i = 0; i < c.length; ++i) {
            const int64_t along = reverse ? c.length - 1 - i : i;
            const auto at = static_cast<size_t>((o * c.length + along) * c.inner + j);
            sum += static_cast<double>(x[at]);
            expected[at] = sum;
          }
        }
      }
      for (const Isa& isa : isas()) {
        for (const bool in_place : {false, true}) {
          NodeRunner node(Op::cumsum, ops::CumSum::Attributes{1, reverse});
          node.input(dims, x, in_place).output(dims, in_place ? 0 : -1).run(isa);
          CHECK(distance(node.result(), expected) < 1e-7);
        }
      }
    }
  }
}

TEST(flip_reverses_an_axis) {
  for (const Line& c : {Line{1, 1, 0, 1}, Line{7, 33, 0, 1}, Line{3, 5, 0, 4}, Line{2, 9, 0, 300},
                        Line{1, 50000, 0, 1}, Line{300, 200, 0, 1}, Line{3, 7, 0, 5000},
                        Line{1, 2, 0, 20000}, Line{0, 4, 0, 2}, Line{4, 0, 0, 3}}) {
    const Dims dims{c.outer, c.length, c.inner};
    // NaN of all kinds among them, which moving leaves as they are.
    const auto x = random_integers(count_of(dims), INT32_MIN, INT32_MAX, 13);
    std::vector<int32_t> expected(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      Dims at = indices(dims, static_cast<int64_t>(i));
      at[1] = c.length - 1 - at[1];
      expected[static_cast<size_t>((at[0] * c.length + at[1]) * c.inner + at[2])] = x[i];
    }
    for (const Isa& isa : isas()) {
      NodeRunner node(Op::flip, ops::Flip::Attributes{1});
      node.input(dims, x).output(dims).run(isa);
      CHECK(node.result_bits() == expected);
    }
  }
}

TEST(where_chooses_with_broadcasting) {
  struct Case {
    Dims c, a, b, out;
  };
  for (const Case& k :
       {Case{{37}, {37}, {37}, {37}}, Case{{}, {}, {}, {}}, Case{{5, 7}, {7}, {5, 1}, {5, 7}},
        Case{{1}, {300, 70}, {70}, {300, 70}}, Case{{3, 1, 5}, {4, 1}, {}, {3, 4, 5}},
        Case{{20000}, {}, {20000}, {20000}}, Case{{0, 3}, {3}, {}, {0, 3}},
        Case{{9, 1, 1}, {9, 50, 60}, {60}, {9, 50, 60}}, Case{{40, 1}, {1, 3}, {40, 3}, {40, 3}}}) {
    const auto c = random_integers(count_of(k.c), -1, 1, 12);
    std::vector<float> conditions;
    conditions.reserve(c.size());
    for (const int32_t v : c) conditions.push_back(v == 1 ? NAN : v == 0 ? -0.0F : -1e-40F);
    const auto a = random_floats(count_of(k.a), 13);
    const auto b = random_floats(count_of(k.b), 14);
    std::vector<float> expected;
    for (int64_t i = 0; i < count_of(k.out); ++i) {
      const Dims at = indices(k.out, i);
      expected.push_back(c[static_cast<size_t>(flat(k.c, at))] != 0
                             ? a[static_cast<size_t>(flat(k.a, at))]
                             : b[static_cast<size_t>(flat(k.b, at))]);
    }
    for (const Isa& isa : isas()) {
      for (const int over : {-1, 1, 2}) {
        const Dims& dims = over == 1 ? k.a : k.b;
        if (over >= 0 && dims != k.out) continue;
        NodeRunner integer(Op::where, ops::Where::Attributes{});
        integer.input(k.c, c).input(k.a, a, over == 1).input(k.b, b, over == 2);
        integer.output(k.out, over).run(isa);
        CHECK(integer.result() == expected);
        NodeRunner floats(Op::where, ops::Where::Attributes{});
        floats.input(k.c, conditions).input(k.a, a, over == 1).input(k.b, b, over == 2);
        floats.output(k.out, over).run(isa);
        CHECK(floats.result() == expected);
      }
    }
  }
}
