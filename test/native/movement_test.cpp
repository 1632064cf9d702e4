// transpose, concat, slice, sliceGrad, copy, broadcastTo against plain index arithmetic.
#include "check.h"
#include "core/ops/broadcast_to.h"
#include "core/ops/concat.h"
#include "core/ops/copy.h"
#include "core/ops/slice.h"
#include "core/ops/transpose.h"
#include "dims.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;

namespace {

/// Values that float arithmetic would not preserve, should a kernel do any.
std::vector<int32_t> bit_patterns(int64_t n) {
  std::vector<int32_t> v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i)
    v[i] = static_cast<int32_t>(0x7f800000U + i * 2654435761U % 0x80000000U);
  return v;
}

void check_transpose(const Dims& dims, const Dims& perm) {
  Dims out_dims;
  for (const int64_t p : perm) out_dims.push_back(dims[static_cast<size_t>(p)]);
  const auto x = bit_patterns(count_of(dims));
  for (const Isa& isa : isas()) {
    NodeRunner node(Op::transpose, ops::Transpose::Attributes{list_of(perm)});
    node.input(dims, x).output(out_dims).run(isa);
    const auto y = node.result_bits();
    int64_t wrong = 0;
    for (int64_t i = 0; i < static_cast<int64_t>(y.size()); ++i) {
      const Dims at = indices(out_dims, i);
      Dims from(dims.size());
      for (size_t k = 0; k < perm.size(); ++k) from[static_cast<size_t>(perm[k])] = at[k];
      wrong += y[static_cast<size_t>(i)] != x[static_cast<size_t>(flat(dims, from))];
    }
    CHECK(wrong == 0);
  }
}

}  // namespace

TEST(transpose_moves_every_element) {
  check_transpose({}, {});
  check_transpose({5}, {0});
  for (const int64_t m : {1, 3, 8, 16, 17, 64, 100}) {
    for (const int64_t n : {1, 2, 7, 16, 33, 130}) check_transpose({m, n}, {1, 0});
  }
  check_transpose({2000, 3}, {1, 0});
  check_transpose({3, 2000}, {1, 0});
  check_transpose({300, 200}, {1, 0});
  check_transpose({3, 5, 7}, {0, 2, 1});
  check_transpose({3, 5, 7}, {2, 1, 0});
  check_transpose({3, 5, 7}, {1, 0, 2});
  check_transpose({3, 5, 7}, {1, 2, 0});
  check_transpose({2, 19, 4, 33}, {0, 2, 1, 3});
  check_transpose({2, 19, 4, 33}, {0, 2, 3, 1});
  check_transpose({2, 19, 1, 33}, {3, 2, 1, 0});
  check_transpose({2, 3, 2, 3, 2, 3, 2, 5}, {7, 0, 6, 1, 5, 2, 4, 3});
  check_transpose({2, 3, 2, 3, 2, 3, 2, 5}, {1, 0, 3, 2, 5, 4, 7, 6});
  check_transpose({700, 3, 2}, {0, 2, 1});
  check_transpose({0, 3}, {1, 0});
}

TEST(concat_joins_parts) {
  struct Case {
    int64_t outer, inner;
    Dims parts;
  };
  for (const Case& c : {Case{1, 1, {5}}, Case{3, 4, {1, 2, 3}}, Case{50, 1, {1, 1, 1, 7}},
                        Case{7, 333, {40, 0, 11}}, Case{0, 3, {1, 2}}, Case{2, 5, {0, 0, 4000}},
                        Case{1, 1, {20000, 30000}}}) {
    Dims out_dims{c.outer, 0, c.inner};
    for (const int64_t p : c.parts) out_dims[1] += p;
    for (const Isa& isa : isas()) {
      NodeRunner node(Op::concat, ops::Concat::Attributes{1});
      std::vector<std::vector<int32_t>> parts;
      for (size_t i = 0; i < c.parts.size(); ++i) {
        const Dims dims{c.outer, c.parts[i], c.inner};
        parts.push_back(bit_patterns(count_of(dims)));
        for (int32_t& v : parts.back()) v += static_cast<int32_t>(i);
        node.input(dims, parts.back());
      }
      node.output(out_dims).run(isa);
      const auto y = node.result_bits();
      int64_t wrong = 0;
      for (int64_t i = 0; i < static_cast<int64_t>(y.size()); ++i) {
        Dims at = indices(out_dims, i);
        size_t part = 0;
        while (at[1] >= c.parts[part]) at[1] -= c.parts[part++];
        wrong += y[static_cast<size_t>(i)] !=
                 parts[part][static_cast<size_t>(flat({c.outer, c.parts[part], c.inner}, at))];
      }
      CHECK(wrong == 0);
    }
  }
}

TEST(slice_and_its_gradient_match) {
  struct Case {
    Dims dims;
    int64_t start, end, step;
  };
  for (const Case& c :
       {Case{{7, 10, 3}, 2, 9, 1}, Case{{7, 10, 3}, 1, 10, 4}, Case{{4, 1000, 1}, 3, 990, 7},
        Case{{1, 30000, 1}, 5, 29999, 1}, Case{{3, 40, 500}, 0, 40, 3},
        Case{{3, 40, 500}, 39, 40, 1}, Case{{3, 40, 5}, 7, 7, 1}, Case{{3, 40, 5}, 7, 7, 2},
        Case{{0, 4, 5}, 1, 3, 1}, Case{{2000, 3, 11}, 1, 3, 1}}) {
    const ops::SliceAttributes attributes{1, c.start, c.end, c.step, c.dims[1]};
    Dims out_dims = c.dims;
    out_dims[1] = (c.end - c.start + c.step - 1) / c.step;
    const auto x = bit_patterns(count_of(c.dims));
    const auto dy = random_floats(count_of(out_dims), 7);
    for (const Isa& isa : isas()) {
      NodeRunner node(Op::slice, attributes);
      node.input(c.dims, x).output(out_dims).run(isa);
      NodeRunner back(Op::sliceGrad, attributes);
      back.input(out_dims, dy).output(c.dims).run(isa);
      const auto y = node.result_bits();
      std::vector<float> expected(x.size(), 0.0F);
      int64_t wrong = 0;
      for (int64_t i = 0; i < static_cast<int64_t>(y.size()); ++i) {
        Dims at = indices(out_dims, i);
        at[1] = c.start + at[1] * c.step;
        const auto from = static_cast<size_t>(flat(c.dims, at));
        wrong += y[static_cast<size_t>(i)] != x[from];
        expected[from] = dy[static_cast<size_t>(i)];
      }
      CHECK(wrong == 0);
      CHECK(back.result() == expected);
    }
  }
}

TEST(copy_copies) {
  for (const int64_t n : {0, 1, 31, 50000}) {
    const auto x = bit_patterns(n);
    for (const Isa& isa : isas()) {
      NodeRunner node(Op::copy, ops::Copy::Attributes{});
      node.input({n}, x).output({n}).run(isa);
      CHECK(node.result_bits() == x);
    }
  }
}

TEST(broadcast_repeats) {
  const std::pair<Dims, Dims> shapes[] = {{{}, {}},
                                          {{}, {40000}},
                                          {{1}, {3, 5}},
                                          {{5}, {3, 5}},
                                          {{3, 1}, {3, 70}},
                                          {{3}, {20000, 3}},
                                          {{2, 1, 4, 1}, {2, 3, 4, 5}},
                                          {{1, 6, 1, 7}, {5, 6, 9, 7}},
                                          {{1, 1}, {0, 5}},
                                          {{9, 1, 1}, {9, 50, 60}},
                                          {{2, 3}, {1, 2, 3}},
                                          {{33, 1, 2}, {33, 400, 2}}};
  for (const auto& [dims, out_dims] : shapes) {
    const auto x = random_floats(count_of(dims), 3);
    for (const Isa& isa : isas()) {
      NodeRunner node(Op::broadcastTo, ops::BroadcastTo::Attributes{list_of(out_dims)});
      node.input(dims, x).output(out_dims).run(isa);
      const auto y = node.result();
      int64_t wrong = 0;
      for (int64_t i = 0; i < static_cast<int64_t>(y.size()); ++i) {
        const Dims at = indices(out_dims, i);
        Dims from(dims.size());
        for (size_t k = 0; k < dims.size(); ++k) {
          from[k] = dims[k] == 1 ? 0 : at[k + out_dims.size() - dims.size()];
        }
        wrong += y[static_cast<size_t>(i)] != x[static_cast<size_t>(flat(dims, from))];
      }
      CHECK(wrong == 0);
    }
  }
}
