// Reductions over every combination of axes against double sums.
#include <cmath>

#include "check.h"
#include "core/ops/reduce.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;
using Dims = std::vector<int64_t>;

namespace {

constexpr double kInfinity = HUGE_VAL;

std::vector<double> reference(Op op, const Dims& dims, const std::vector<bool>& reduced,
                              const std::vector<float>& x) {
  int64_t outputs = 1;
  int64_t count = 1;
  for (size_t k = 0; k < dims.size(); ++k) (reduced[k] ? count : outputs) *= dims[k];
  const auto slot = [&](int64_t i) {
    int64_t at = 0;
    int64_t stride = 1;
    for (size_t k = dims.size(); k-- > 0;) {
      if (!reduced[k]) {
        at += i % dims[k] * stride;
        stride *= dims[k];
      }
      i /= dims[k];
    }
    return static_cast<size_t>(at);
  };
  const double start = op == Op::max ? -kInfinity : op == Op::min ? kInfinity : 0.0;
  std::vector<double> out(static_cast<size_t>(outputs), start);
  const auto n = static_cast<int64_t>(x.size());
  for (int64_t i = 0; i < n; ++i) {
    const auto v = static_cast<double>(x[static_cast<size_t>(i)]);
    double& o = out[slot(i)];
    if (op == Op::max) {
      o = v > o || std::isnan(v) ? v : o;
    } else if (op == Op::min) {
      o = v < o || std::isnan(v) ? v : o;
    } else {
      o += v;
    }
  }
  if (op == Op::mean || op == Op::variance) {
    for (double& o : out) o /= static_cast<double>(count);
  }
  if (op == Op::variance) {
    std::vector<double> squares(out.size(), count > 0 ? 0.0 : std::nan(""));
    for (int64_t i = 0; i < n; ++i) {
      const double d = static_cast<double>(x[static_cast<size_t>(i)]) - out[slot(i)];
      squares[slot(i)] += d * d / static_cast<double>(count);
    }
    return squares;
  }
  return out;
}

void check_reductions(const Dims& dims, const Dims& axes, float low = -1.0F, float high = 1.0F) {
  ops::ReduceAttributes attributes;
  std::vector<bool> reduced(dims.size(), axes.empty());
  if (axes.empty()) {
    for (size_t k = 0; k < dims.size(); ++k)
      attributes.axes.values[attributes.axes.count++] = static_cast<int64_t>(k);
  }
  for (const int64_t a : axes) {
    attributes.axes.values[attributes.axes.count++] = a;
    reduced[static_cast<size_t>(a)] = true;
  }
  Dims out_dims;
  for (size_t k = 0; k < dims.size(); ++k) {
    if (!reduced[k]) out_dims.push_back(dims[k]);
  }
  const auto x = random_floats(count_of(dims), 11, low, high);
  for (const Op op : {Op::sum, Op::mean, Op::max, Op::min, Op::variance}) {
    const auto expected = reference(op, dims, reduced, x);
    for (const Isa& isa : isas()) {
      NodeRunner node(op, attributes);
      node.input(dims, x).output(out_dims).run(isa);
      const auto y = node.result();
      // Of sums that cancel, the error is judged by the size of what was added.
      double scale = 1.0;
      if (low < 0 && (op == Op::sum || op == Op::mean)) {
        double norm = 0;
        double terms = 0;
        for (const double e : expected) norm += e * e;
        for (const float v : x) terms += static_cast<double>(v) * static_cast<double>(v);
        if (norm > 0) {
          const size_t count = op == Op::mean ? x.size() / y.size() : 1;
          scale = std::fmax(1.0, std::sqrt(terms / norm) / static_cast<double>(count));
        }
      }
      CHECK_NEAR(distance(y, expected), 0.0, 5e-7 * scale);
    }
  }
}

}  // namespace

TEST(reduce_rows) {
  for (const int64_t n : {1, 2, 7, 8, 15, 16, 17, 63, 64, 65, 100, 1024, 5000})
    check_reductions({37, n}, {1}, 0.0F, 1.0F);
  check_reductions({3, 100000}, {1}, 0.0F, 1.0F);
  check_reductions({100, 40000}, {1});
  check_reductions({1000003}, {}, 0.0F, 1.0F);
  check_reductions({4, 5, 6}, {});
  check_reductions({}, {});
  check_reductions({1, 1}, {0});
}

TEST(reduce_columns) {
  check_reductions({128, 512}, {0}, 0.0F, 1.0F);
  check_reductions({10000, 10}, {0}, 0.0F, 1.0F);
  check_reductions({10000, 1}, {0});
  for (const int64_t n : {1, 2, 3, 9, 16, 31, 64, 65, 200, 513, 1500})
    check_reductions({67, n}, {0});
  check_reductions({50000, 3}, {0}, 0.0F, 1.0F);
  check_reductions({20000, 130}, {0}, 0.0F, 1.0F);
  check_reductions({1, 70000}, {0});
  check_reductions({5, 70000}, {0});
}

TEST(reduce_mixed_axes) {
  const Dims dims{3, 4, 5, 6, 2};
  for (int mask = 1; mask < 32; ++mask) {
    Dims axes;
    for (int k = 0; k < 5; ++k) {
      if ((mask >> k & 1) != 0) axes.push_back(k);
    }
    check_reductions(dims, axes);
  }
  check_reductions({2, 3, 2, 3, 2, 3, 2, 3}, {0, 2, 4, 6});
  check_reductions({2, 3, 2, 3, 2, 3, 2, 3}, {1, 3, 5, 7});
  check_reductions({32, 3, 50, 50}, {0, 2, 3}, 0.0F, 1.0F);
  check_reductions({64, 5, 3000}, {0, 2}, 0.0F, 1.0F);
  check_reductions({64, 5, 3000}, {1});
  check_reductions({300, 5, 300, 7}, {0, 2});
}

TEST(reduce_nothing) {
  check_reductions({0}, {});
  check_reductions({3, 0}, {1});
  check_reductions({0, 70}, {0});
  check_reductions({0, 3}, {1});
  check_reductions({4, 0, 3}, {1});
}

TEST(extremes_pass_nan_on) {
  auto x = random_floats(70 * 90, 5);
  x[90 * 13 + 77] = std::nanf("");
  for (const Isa& isa : isas()) {
    for (const Op op : {Op::max, Op::min}) {
      for (const int64_t axis : {0, 1}) {
        ops::ReduceAttributes attributes;
        attributes.axes.values[attributes.axes.count++] = axis;
        NodeRunner node(op, attributes);
        node.input({70, 90}, x).output({axis == 0 ? 90 : 70}).run(isa);
        const auto y = node.result();
        for (size_t i = 0; i < y.size(); ++i)
          CHECK(std::isnan(y[i]) == (i == (axis == 0 ? 77U : 13U)));
      }
    }
  }
}
