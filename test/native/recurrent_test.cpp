// lstm, gru and their gradients against plain loops in double precision, with products of floats
// and of operands rounded to bfloat16.
#include "core/ops/recurrent.h"

#include "check.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;
using Dims = std::vector<int64_t>;
using Doubles = std::vector<double>;

namespace {

struct Case {
  int64_t batch, time, units;
  bool bf16 = false;
};

// One row, rows that make several tiles of two sizes, weights that rows of 16 go with; units around
// vectors.
const Case kCases[] = {{1, 1, 1},   {3, 7, 6},    {1, 12, 33}, {9, 3, 16},
                       {17, 5, 40}, {37, 2, 131}, {5, 2, 230}, {18, 4, 200}};

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

Doubles to_doubles(const std::vector<float>& v) { return {v.begin(), v.end()}; }

size_t at(int64_t i) { return static_cast<size_t>(i); }

/// What a product makes of an operand.
double factor(const Case& c, double x) { return c.bf16 ? rounded(static_cast<float>(x)) : x; }

Doubles factors(const Case& c, Doubles all) {
  for (double& x : all) x = factor(c, x);
  return all;
}

/// sums = w * state + b, with w [gates, units].
Doubles product(const Doubles& w, const Doubles& state, const Doubles& b) {
  Doubles sums = b;
  const size_t units = state.size();
  for (size_t i = 0; i < sums.size(); ++i) {
    for (size_t j = 0; j < units; ++j) sums[i] += w[i * units + j] * state[j];
  }
  return sums;
}

struct Result {
  Doubles y, gates, extra;  // extra: cells of lstm, s of n of gru
  Doubles dx, ds;           // ds of gru alone
};

/// `x` [batch, time, 4 * units]; the gradients for `dy`.
Result lstm(const Case& c, const Doubles& x, const Doubles& weights, const Doubles& dy) {
  const int64_t u = c.units;
  const Doubles w = factors(c, weights);
  Result out{Doubles(at(c.batch * c.time * u)),
             Doubles(x.size()),
             Doubles(at(c.batch * c.time * u)),
             Doubles(x.size()),
             {}};
  for (int64_t b = 0; b < c.batch; ++b) {
    Doubles h(at(u), 0.0);
    Doubles cell(at(u), 0.0);
    for (int64_t t = 0; t < c.time; ++t) {
      const int64_t row = b * c.time + t;
      const Doubles sums = product(w, factors(c, h), Doubles(at(4 * u), 0.0));
      const auto sum = [&](int64_t gate, int64_t j) {
        return sums[at(gate * u + j)] + x[at((row * 4 + gate) * u + j)];
      };
      for (int64_t j = 0; j < u; ++j) {
        const double gate[4] = {sigmoid(sum(0, j)), sigmoid(sum(1, j)), std::tanh(sum(2, j)),
                                sigmoid(sum(3, j))};
        cell[at(j)] = gate[1] * cell[at(j)] + gate[0] * gate[2];
        for (int64_t k = 0; k < 4; ++k) out.gates[at((row * 4 + k) * u + j)] = gate[k];
        out.extra[at(row * u + j)] = cell[at(j)];
        out.y[at(row * u + j)] = gate[3] * std::tanh(cell[at(j)]);
      }
      for (int64_t j = 0; j < u; ++j) h[at(j)] = out.y[at(row * u + j)];
    }
    Doubles dh(at(u), 0.0);
    Doubles dc(at(u), 0.0);
    for (int64_t t = c.time; t-- > 0;) {
      const int64_t row = b * c.time + t;
      for (int64_t j = 0; j < u; ++j) {
        const auto gate = [&](int64_t k) { return out.gates[at((row * 4 + k) * u + j)]; };
        const double squashed = std::tanh(out.extra[at(row * u + j)]);
        const double before = t == 0 ? 0.0 : out.extra[at((row - 1) * u + j)];
        const double d_y = dy[at(row * u + j)] + dh[at(j)];
        const double d_cell = d_y * gate(3) * (1 - squashed * squashed) + dc[at(j)];
        const double d[4] = {
            d_cell * gate(2) * gate(0) * (1 - gate(0)), d_cell * before * gate(1) * (1 - gate(1)),
            d_cell * gate(0) * (1 - gate(2) * gate(2)), d_y * squashed * gate(3) * (1 - gate(3))};
        for (int64_t k = 0; k < 4; ++k) out.dx[at((row * 4 + k) * u + j)] = d[k];
        dc[at(j)] = d_cell * gate(1);
      }
      for (int64_t j = 0; j < u; ++j) {
        dh[at(j)] = 0.0;
        for (int64_t i = 0; i < 4 * u; ++i)
          dh[at(j)] += factor(c, out.dx[at(row * 4 * u + i)]) * w[at(i * u + j)];
      }
    }
  }
  return out;
}

/// `x` [batch, time, 3 * units].
Result gru(const Case& c, const Doubles& x, const Doubles& weights, const Doubles& bias,
           const Doubles& dy) {
  const int64_t u = c.units;
  const Doubles w = factors(c, weights);
  Result out{Doubles(at(c.batch * c.time * u)), Doubles(x.size()),
             Doubles(at(c.batch * c.time * u)), Doubles(x.size()), Doubles(x.size())};
  for (int64_t b = 0; b < c.batch; ++b) {
    Doubles h(at(u), 0.0);
    for (int64_t t = 0; t < c.time; ++t) {
      const int64_t row = b * c.time + t;
      const Doubles s = product(w, factors(c, h), bias);
      const auto input = [&](int64_t gate, int64_t j) { return x[at((row * 3 + gate) * u + j)]; };
      for (int64_t j = 0; j < u; ++j) {
        const double r = sigmoid(input(0, j) + s[at(j)]);
        const double z = sigmoid(input(1, j) + s[at(u + j)]);
        const double n = std::tanh(input(2, j) + r * s[at(2 * u + j)]);
        out.gates[at(row * 3 * u + j)] = r;
        out.gates[at((row * 3 + 1) * u + j)] = z;
        out.gates[at((row * 3 + 2) * u + j)] = n;
        out.extra[at(row * u + j)] = s[at(2 * u + j)];
        out.y[at(row * u + j)] = (1 - z) * n + z * h[at(j)];
      }
      for (int64_t j = 0; j < u; ++j) h[at(j)] = out.y[at(row * u + j)];
    }
    Doubles carry(at(u), 0.0);
    for (int64_t t = c.time; t-- > 0;) {
      const int64_t row = b * c.time + t;
      for (int64_t j = 0; j < u; ++j) {
        const auto gate = [&](int64_t k) { return out.gates[at((row * 3 + k) * u + j)]; };
        const double before = t == 0 ? 0.0 : out.y[at((row - 1) * u + j)];
        const double d_y = dy[at(row * u + j)] + carry[at(j)];
        const double d_n = d_y * (1 - gate(1)) * (1 - gate(2) * gate(2));
        const double d_z = d_y * (before - gate(2)) * gate(1) * (1 - gate(1));
        const double d_r = d_n * out.extra[at(row * u + j)] * gate(0) * (1 - gate(0));
        const double dx[3] = {d_r, d_z, d_n};
        const double ds[3] = {d_r, d_z, d_n * gate(0)};
        for (int64_t k = 0; k < 3; ++k) {
          out.dx[at((row * 3 + k) * u + j)] = dx[k];
          out.ds[at((row * 3 + k) * u + j)] = ds[k];
        }
        carry[at(j)] = d_y * gate(1);
      }
      for (int64_t j = 0; j < u; ++j) {
        for (int64_t i = 0; i < 3 * u; ++i)
          carry[at(j)] += factor(c, out.ds[at(row * 3 * u + i)]) * w[at(i * u + j)];
      }
    }
  }
  return out;
}

struct Data {
  std::vector<float> x, w, b, dy;
  Data(const Case& c, int64_t gates)
      : x(random_floats(c.batch * c.time * gates * c.units, 1, -2.0F, 2.0F)),
        w(random_floats(gates * c.units * c.units, 2, -0.3F, 0.3F)),
        b(random_floats(gates * c.units, 3)),
        dy(random_floats(c.batch * c.time * c.units, 4)) {}
};

std::vector<float> to_floats(const Doubles& v) {
  std::vector<float> out;
  for (const double x : v) out.push_back(static_cast<float>(x));
  return out;
}

constexpr double kTolerance = 2e-6;
/// A state whose last float bit falls the other way may round to another bfloat16.
constexpr double kRoundedTolerance = 1e-4;

void check_lstm(const Case& c, double tolerance) {
  const Data data(c, 4);
  const Result expected = lstm(c, to_doubles(data.x), to_doubles(data.w), to_doubles(data.dy));
  const Dims gates{c.batch, c.time, 4 * c.units};
  const Dims states{c.batch, c.time, c.units};
  const Dims weights{4 * c.units, c.units};
  for (const Isa& isa : isas()) {
    NodeRunner plain(Op::lstm, ops::RecurrentAttributes{false, c.bf16});
    plain.input(gates, data.x).input(weights, data.w).output(states).run(isa);
    CHECK(distance(plain.result(), expected.y) < tolerance);
    NodeRunner keeping(Op::lstm, ops::RecurrentAttributes{true, c.bf16});
    keeping.input(gates, data.x).input(weights, data.w);
    keeping.output(states).output(gates).output(states).run(isa);
    CHECK(keeping.result(0) == plain.result());
    CHECK(distance(keeping.result(1), expected.gates) < tolerance);
    CHECK(distance(keeping.result(2), expected.extra) < tolerance);
    for (const bool in_place : {false, true}) {
      NodeRunner back(Op::lstmGrad, ops::RecurrentGradAttributes{c.bf16});
      back.input(gates, to_floats(expected.gates), in_place);
      back.input(states, to_floats(expected.extra)).input(weights, data.w);
      back.input(states, data.dy).output(gates, in_place ? 0 : -1).run(isa);
      CHECK(distance(back.result(), expected.dx) < tolerance);
    }
  }
}

void check_gru(const Case& c, double tolerance) {
  const Data data(c, 3);
  const Result expected =
      gru(c, to_doubles(data.x), to_doubles(data.w), to_doubles(data.b), to_doubles(data.dy));
  const Dims gates{c.batch, c.time, 3 * c.units};
  const Dims states{c.batch, c.time, c.units};
  const Dims weights{3 * c.units, c.units};
  for (const Isa& isa : isas()) {
    NodeRunner plain(Op::gru, ops::RecurrentAttributes{false, c.bf16});
    plain.input(gates, data.x).input(weights, data.w).input({3 * c.units}, data.b);
    plain.output(states).run(isa);
    CHECK(distance(plain.result(), expected.y) < tolerance);
    NodeRunner keeping(Op::gru, ops::RecurrentAttributes{true, c.bf16});
    keeping.input(gates, data.x).input(weights, data.w).input({3 * c.units}, data.b);
    keeping.output(states).output(gates).output(states).run(isa);
    CHECK(keeping.result(0) == plain.result());
    CHECK(distance(keeping.result(1), expected.gates) < tolerance);
    CHECK(distance(keeping.result(2), expected.extra) < tolerance);
    for (const bool in_place : {false, true}) {
      NodeRunner back(Op::gruGrad, ops::RecurrentGradAttributes{c.bf16});
      back.input(gates, to_floats(expected.gates), in_place);
      back.input(states, to_floats(expected.extra)).input(states, to_floats(expected.y));
      back.input(weights, data.w).input(states, data.dy);
      back.output(gates, in_place ? 0 : -1).output(gates).run(isa);
      CHECK(distance(back.result(0), expected.dx) < tolerance);
      CHECK(distance(back.result(1), expected.ds) < tolerance);
    }
  }
}

}  // namespace

TEST(lstm_walks_through_time) {
  for (const Case& c : kCases) check_lstm(c, kTolerance);
}

TEST(gru_walks_through_time) {
  for (const Case& c : kCases) check_gru(c, kTolerance);
}

TEST(recurrences_multiply_rounded_states) {
  for (Case c : kCases) {
    c.bf16 = true;
    check_lstm(c, kRoundedTolerance);
    check_gru(c, kRoundedTolerance);
  }
}

TEST(a_frozen_recurrence_gives_the_same_bits) {
  const Case c{11, 6, 37};
  for (const Isa& isa : isas()) {
    for (const Op op : {Op::lstm, Op::gru}) {
      const int64_t gates = op == Op::lstm ? 4 : 3;
      const Data data(c, gates);
      std::vector<float> results[2];
      for (const bool frozen : {false, true}) {
        KernelHarness node(isa.launchers, op);
        node.attributes(ops::RecurrentAttributes{false});
        node.input({c.batch, c.time, gates * c.units}, data.x);
        if (frozen) {
          node.frozen_input({gates * c.units, c.units}, data.w);
        } else {
          node.input({gates * c.units, c.units}, data.w);
        }
        if (op == Op::gru) node.input({gates * c.units}, data.b);
        node.output({c.batch, c.time, c.units}).run();
        CHECK(node.clean());
        results[frozen ? 1 : 0] = node.floats(0);
      }
      CHECK(results[0] == results[1]);
    }
  }
}
