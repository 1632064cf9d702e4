// The matrix product of every instruction set against a naive one in double precision. Buffers
// end or start at a page that must not be touched, gaps between rows hold NaN in the operands
// and a mark in the results: a stray read or write cannot pass.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "check.h"
#include "gemm_support.h"

namespace {

using namespace tandem::cpu;

constexpr float MARK = -12345.5f;

void apply_test(const float* in, const float* /*unused*/, float* out, int64_t n,
                const float* params) {
  for (int64_t i = 0; i < n; ++i) out[i] = in[i] > 0 ? in[i] : in[i] * params[0];
}
void grad_test(const float* dy, const float* saved, float* out, int64_t n, const float* params) {
  for (int64_t i = 0; i < n; ++i) out[i] = saved[i] > 0 ? dy[i] : dy[i] * params[0];
}

struct Case {
  int64_t m, n, k;
  bool a_transposed = false, b_transposed = false;
  int64_t gap = 0;  // unused elements between rows
  int64_t batch[2] = {1, 1};
  bool a_repeats[2] = {false, false}, b_repeats[2] = {false, false};
  bool accumulate = false, frozen = false, bias = false, pre = false, grad = false;
  bool residual = false, row_bias = false;
  GemmActivation activation = GEMM_ACT_NONE;
  int l1_ways = 0;
};

int64_t fill_operand(Guarded<float>& g, int64_t base, int64_t rows, int64_t cols, int64_t rs,
                     int64_t cs) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j) g[base + i * rs + j * cs] = random_value();
  return base;
}

// Lays out one operand; returns the number of elements that it spans.
int64_t lay_out(int64_t rows, int64_t cols, bool transposed, int64_t gap, const int64_t* batch,
                const bool* repeats, int64_t& rs, int64_t& cs, int64_t* strides) {
  rs = transposed ? 1 : cols + gap;
  cs = transposed ? rows + gap : 1;
  const int64_t one = transposed ? cols * cs : rows * rs;
  strides[1] = repeats[1] ? 0 : one;
  strides[0] = repeats[0] ? 0 : one * (repeats[1] ? 1 : batch[1]);
  if (rows == 0 || cols == 0) return 0;
  return (batch[0] - 1) * strides[0] + (batch[1] - 1) * strides[1] + (rows - 1) * rs +
         (cols - 1) * cs + 1;
}

void run_case(const GemmIsa& isa, const Case& t, bool reverse = false) {
  GemmDesc d = {};
  d.m = t.m, d.n = t.n, d.k = t.k;
  d.accumulate = t.accumulate;
  d.b_packed = t.frozen;
  d.row_bias = t.row_bias;
  d.pack_a_first = true;
  d.units = isa.units;
  d.l1_ways = t.l1_ways;
  d.kernels = isa.floats;
  const bool never[2] = {false, false};
  for (int i = 0; i < 2; ++i) d.batch[i] = t.batch[i];
  const float nan = std::numeric_limits<float>::quiet_NaN();
  int64_t c_col = 1;
  const int64_t a_size =
      lay_out(t.m, t.k, t.a_transposed, t.gap, t.batch, t.a_repeats, d.a_row, d.a_col, d.a_batch);
  const int64_t b_size =
      lay_out(t.k, t.n, t.b_transposed, t.gap, t.batch, t.b_repeats, d.b_row, d.b_col, d.b_batch);
  const int64_t c_size = lay_out(t.m, t.n, false, t.gap, t.batch, never, d.c_row, c_col, d.c_batch);
  Guarded<float> a(a_size, nan), b(b_size, nan), c(c_size, MARK), pre(t.pre ? c_size : 0, MARK);
  Guarded<float> saved(t.grad ? c_size : 0, nan), bias(t.bias ? t.n : 0, 0.0f);
  Guarded<float> residual(t.residual ? c_size : 0, nan), row_bias(t.row_bias ? t.m : 0, 0.0f);
  for (int64_t x = 0; x < t.batch[0]; ++x)
    for (int64_t y = 0; y < t.batch[1]; ++y) {
      fill_operand(a, x * d.a_batch[0] + y * d.a_batch[1], t.m, t.k, d.a_row, d.a_col);
      fill_operand(b, x * d.b_batch[0] + y * d.b_batch[1], t.k, t.n, d.b_row, d.b_col);
      const int64_t at = x * d.c_batch[0] + y * d.c_batch[1];
      if (t.accumulate) fill_operand(c, at, t.m, t.n, d.c_row, 1);
      if (t.grad) fill_operand(saved, at, t.m, t.n, d.c_row, 1);
      if (t.residual) fill_operand(residual, at, t.m, t.n, d.c_row, 1);
    }
  if (t.bias)
    for (int64_t j = 0; j < t.n; ++j) bias[j] = random_value();
  for (int64_t i = 0; i < row_bias.size(); ++i) row_bias[i] = random_value();

  const float slope = 0.25f;
  GemmEpilogue e = {};
  e.bias = t.bias ? bias.data() : nullptr;
  e.row_bias = t.row_bias ? row_bias.data() : nullptr;
  e.activation = t.activation;
  e.apply = t.activation == GEMM_ACT_APPLY ? apply_test : nullptr;
  e.params = &slope;
  e.pre = t.pre ? pre.data() : nullptr;
  e.apply_grad = t.grad ? grad_test : nullptr;
  e.saved = t.grad ? saved.data() : nullptr;
  e.residual = t.residual ? residual.data() : nullptr;
  std::vector<float> before(c.data(), c.data() + c_size);

  const GemmPlan plan = isa.plan(d);
  Guarded<float> packed(plan.packed_b_bytes / 4, nan, true);
  Guarded<float> scratch(plan.scratch_bytes / 4, nan, true);
  for (int64_t i = 0; i < plan.pack_tiles; ++i)
    isa.pack(plan, b.data(), packed.data(), reverse ? plan.pack_tiles - 1 - i : i);
  Guarded<float> packed_a(plan.packed_a_bytes / 4, nan, true);
  for (int64_t i = 0; i < plan.pack_a_tiles; ++i)
    isa.pack_a(plan, a.data(), packed_a.data(), reverse ? plan.pack_a_tiles - 1 - i : i);
  const float* a_used = plan.pack_a_tiles > 0 ? packed_a.data() : a.data();
  const float* b_used = reads_packed(plan) ? packed.data() : b.data();
  for (int64_t i = 0; i < plan.compute_tiles; ++i)
    isa.compute(plan, a_used, b_used, c.data(), e, reverse ? plan.compute_tiles - 1 - i : i,
                scratch.data());

  bool good = true;
  std::vector<bool> written(static_cast<size_t>(c_size));
  for (int64_t x = 0; x < t.batch[0]; ++x)
    for (int64_t y = 0; y < t.batch[1]; ++y)
      for (int64_t i = 0; i < t.m; ++i)
        for (int64_t j = 0; j < t.n; ++j) {
          const int64_t at = x * d.c_batch[0] + y * d.c_batch[1] + i * d.c_row + j;
          written[static_cast<size_t>(at)] = true;
          const float* pa = a.data() + x * d.a_batch[0] + y * d.a_batch[1] + i * d.a_row;
          const float* pb = b.data() + x * d.b_batch[0] + y * d.b_batch[1] + j * d.b_col;
          double v = t.accumulate ? before[static_cast<size_t>(at)] : 0.0,
                 size = 1.0 + std::fabs(v);
          for (int64_t l = 0; l < t.k; ++l) {
            const double term = static_cast<double>(pa[l * d.a_col]) * pb[l * d.b_row];
            v += term;
            size += std::fabs(term);
          }
          if (t.residual) v += residual[at];
          if (t.bias) v += bias[j];
          if (t.row_bias) v += row_bias[i];
          const double tolerance = size * 1e-6;
          if (t.pre && !(std::fabs(pre[at] - v) <= tolerance)) good = false;
          if (t.activation == GEMM_ACT_RELU && v < 0) v = 0;
          if (t.activation == GEMM_ACT_APPLY && v < 0) v *= slope;
          if (t.grad && saved[at] <= 0) v *= slope;
          if (!(std::fabs(c[at] - v) <= tolerance)) good = false;
        }
  for (int64_t at = 0; at < c_size; ++at)
    if (!written[static_cast<size_t>(at)] && (c[at] != MARK || (t.pre && pre[at] != MARK)))
      good = false;
  good = good && a.intact() && b.intact() && c.intact() && pre.intact() && packed.intact() &&
         packed_a.intact() && scratch.intact() && saved.intact() && bias.intact() &&
         residual.intact() && row_bias.intact();
  if (!good)
    std::printf(
        "%s %s: m %d n %d k %d at %d bt %d gap %d batch %dx%d accumulate %d frozen %d bias %d pre "
        "%d "
        "grad %d residual %d row_bias %d act %d source %d\n",
        isa.name, plan.desc.kernels->name, int(t.m), int(t.n), int(t.k), t.a_transposed,
        t.b_transposed, int(t.gap), int(t.batch[0]), int(t.batch[1]), t.accumulate, t.frozen,
        t.bias, t.pre, t.grad, t.residual, t.row_bias, t.activation, plan.source);
  CHECK(good);
}

Case random_case(int64_t largest) {
  Case t = {random_in(1, largest), random_in(1, largest), random_in(0, largest)};
  const uint32_t bits = next_random() >> 8;
  t.a_transposed = bits & 1;
  t.b_transposed = bits & 2;
  t.gap = bits & 4 ? random_in(1, 20) : 0;
  t.accumulate = bits & 8;
  t.frozen = bits & 16;
  t.bias = bits & 32;
  t.pre = bits & 64;
  t.grad = (bits & 384) == 0;
  t.residual = !t.accumulate && (bits & 1536) == 0;
  t.activation = static_cast<GemmActivation>(random_in(0, 2));
  return t;
}

TEST(gemm_matches_naive_on_random_shapes) {
  for (const GemmIsa& isa : float_isas()) {
    random_state = 7;
    for (int i = 0; i < 1500; ++i) run_case(isa, random_case(70));
  }
}

TEST(gemm_handles_every_edge_of_a_kernel) {
  for (const GemmIsa& isa : float_isas())
    for (int64_t m = 1; m <= 16; ++m)
      for (int64_t n = 1; n <= 35; ++n)
        for (int form = 0; form < 8; ++form) {
          Case t = {m, n, 3 + n};
          t.a_transposed = form & 1;
          t.b_transposed = form & 2;
          t.frozen = form & 4;
          run_case(isa, t);
        }
}

TEST(gemm_handles_every_edge_of_the_widest_kernels) {
  for (const GemmIsa& isa : float_isas())
    for (const int64_t m : {1, 2, 3, 6, 7, 14})
      for (int64_t n = 36; n <= 137; ++n)
        for (int form = 0; form < 8; ++form) {
          Case t = {m, n, 1 + n % 13};
          t.a_transposed = form & 1;
          t.b_transposed = form & 2;
          t.frozen = form & 4;
          t.bias = form & 1;
          t.residual = form & 2;
          t.grad = (n + form) % 3 == 0;
          run_case(isa, t);
        }
}

TEST(gemm_matches_naive_on_larger_shapes) {
  const int64_t shapes[][3] = {{128, 512, 784}, {512, 784, 128}, {1, 512, 784},  {10, 256, 128},
                               {129, 257, 385}, {300, 33, 900},  {5, 1030, 600}, {33, 300, 64},
                               {128, 256, 10},  {256, 1, 300},   {1, 300, 1},    {2, 700, 1100},
                               {40, 70, 1024},  {1024, 170, 70}, {60, 1024, 80}, {512, 130, 700},
                               {300, 200, 1300}};
  for (const GemmIsa& isa : float_isas(true))
    for (const auto& s : shapes)
      for (int form = 0; form < 8; ++form) {
        Case t = random_case(2);
        t.m = s[0], t.n = s[1], t.k = s[2];
        if (form < 4) t.gap = 0;  // rows that lie a multiple of 4 KiB apart
        t.l1_ways = form & 2 ? 8 : 32;
        t.a_transposed = form & 1;
        t.b_transposed = form & 2;
        t.frozen = form & 4;
        run_case(isa, t, form & 1);
      }
}

// Whose epilogue may be late, in several panels of rows and steps of k.
TEST(gemm_starts_sums_at_the_bias_of_rows) {
  for (const GemmIsa& isa : float_isas(true))
    for (const int64_t k : {40, 600, 1700})
      for (int form = 0; form < 16; ++form) {
        Case t = {100, form & 1 ? 64 : 45, k};
        t.row_bias = true;
        t.a_transposed = form & 2;
        t.batch[1] = form & 4 ? 3 : 1;
        t.a_repeats[1] = true;
        t.pre = form & 8;
        t.activation = form & 2 ? GEMM_ACT_RELU : GEMM_ACT_NONE;
        run_case(isa, t);
      }
}

// Columns of A that leave the L2 before they are read are packed by the tiles that multiply them.
TEST(gemm_packs_long_columns_by_blocks) {
  for (const GemmIsa& isa : float_isas()) {
    GemmDesc d = {};
    d.m = 512, d.n = 130, d.k = 700;
    d.a_row = 1, d.a_col = d.m;
    d.b_row = d.c_row = d.n, d.b_col = 1;
    d.batch[0] = d.batch[1] = 1;
    d.pack_a_first = true;
    d.units = isa.units;
    d.kernels = isa.floats;
    const GemmPlan plan = isa.plan(d);
    if (plan.desc.kernels->splits) continue;
    const bool waits = isa.units != GEMM_UNITS_SPLIT;
    if (plan.pack_a_block != waits || plan.pack_a_tiles != 0) printf("of %s\n", isa.name);
    CHECK(plan.pack_a_block == waits);
    CHECK(plan.pack_a_tiles == 0);
  }
}

// Rows that share a set of the L1 are copied where it does not hold them; columns are anyway.
TEST(gemm_copies_rows_that_evict_each_other) {
  for (const GemmIsa& isa : float_isas()) {
    GemmDesc d = {};
    d.m = d.n = d.k = d.b_row = d.c_row = 1024;
    d.b_col = 1;
    d.batch[0] = d.batch[1] = 1;
    d.units = isa.units;
    d.kernels = isa.kernels(GEMM_F32)[0];
    for (const bool columns : {false, true})
      for (const int64_t gap : {0, 8})
        for (const int ways : {4, 32}) {
          d.a_row = columns ? 1 : 1024 + gap;
          d.a_col = columns ? 1024 + gap : 1;
          d.l1_ways = ways;
          const bool wide = d.kernels->wide4_rows >= 4;  // serve rows that collide where they are
          const bool copies = isa.plan(d).pack_a;
          if (columns && gap == 0)
            CHECK(copies);
          else if (!columns)
            CHECK(copies == (gap == 0 && ways == 4 && !wide));
        }
  }
}

// C[m, n] of a product whose rows of A lie a multiple of 4 KiB apart.
std::vector<float> multiply_colliding(const GemmIsa& isa, GemmDesc d, int ways, bool& packs) {
  random_state = 9;
  d.a_row = 1024, d.a_col = 1;
  d.b_row = d.c_row = d.n, d.b_col = 1;
  d.batch[0] = d.batch[1] = 1;
  d.units = isa.units;
  d.kernels = isa.floats;
  d.l1_ways = ways;
  Guarded<float> a(d.m * d.a_row, 0.0f), b(d.k * d.n, 0.0f);
  for (int64_t i = 0; i < a.size(); ++i) a[i] = random_value();
  for (int64_t i = 0; i < b.size(); ++i) b[i] = random_value();
  const GemmPlan plan = isa.plan(d);
  packs = plan.pack_a;
  Guarded<float> packed(plan.packed_b_bytes / 4, 0.0f, true);
  Guarded<float> scratch(plan.scratch_bytes / 4, 0.0f, true);
  for (int64_t i = 0; i < plan.pack_tiles; ++i) isa.pack(plan, b.data(), packed.data(), i);
  std::vector<float> c(static_cast<size_t>(d.m * d.n));
  for (int64_t i = 0; i < plan.compute_tiles; ++i)
    isa.compute(plan, a.data(), reads_packed(plan) ? packed.data() : b.data(), c.data(), {}, i,
                scratch.data());
  return c;
}

// Processors of one instruction set compute the same bits, those of two kinds of cores among them.
TEST(gemm_has_the_same_bits_for_any_first_cache) {
  const int64_t shapes[][3] = {{8, 40, 900}, {13, 9, 1024}, {200, 150, 64}, {130, 333, 1000}};
  for (const GemmIsa& isa : float_isas(true)) {
    bool differ = false;
    for (const auto& s : shapes) {
      GemmDesc d = {};
      d.m = s[0], d.n = s[1], d.k = s[2];
      bool of_8 = false, of_12 = false;
      const std::vector<float> one = multiply_colliding(isa, d, 8, of_8);
      const std::vector<float> other = multiply_colliding(isa, d, 12, of_12);
      CHECK(std::memcmp(one.data(), other.data(), one.size() * sizeof(float)) == 0);
      differ = differ || of_8 != of_12;
    }
    CHECK(differ || std::strcmp(isa.name, "avx2") != 0);  // whose rows 12 ways hold, and 8 do not
  }
}

// A batch may leave no more than a tile to each matrix, of any height.
TEST(gemm_packs_tall_blocks_in_pieces) {
  for (const GemmIsa& isa : float_isas()) {
    Case t = {256, 100, 64};
    t.a_transposed = true;
    t.gap = 256;
    t.batch[1] = 9;
    run_case(isa, t);
    GemmDesc d = {};
    d.m = d.a_col = 512 * 1024, d.n = d.b_row = d.c_row = 100, d.k = 64;
    d.a_row = d.b_col = 1;
    d.batch[0] = 1, d.batch[1] = 40;
    d.a_batch[1] = d.m * d.k, d.b_batch[1] = d.k * d.n, d.c_batch[1] = d.m * d.n;
    d.units = isa.units;
    d.kernels = isa.floats;
    const GemmPlan plan = isa.plan(d);
    CHECK(plan.pack_a_block == (isa.units != GEMM_UNITS_SPLIT && !plan.desc.kernels->splits));
    CHECK(plan.scratch_bytes < 1024 * 1024);
  }
}

TEST(gemm_handles_batches_and_repeated_operands) {
  for (const GemmIsa& isa : float_isas()) {
    random_state = 11;
    for (int i = 0; i < 300; ++i) {
      Case t = random_case(i % 20 == 0 ? 150 : 40);
      for (int j = 0; j < 2; ++j) {
        t.batch[j] = random_in(1, 4);
        t.a_repeats[j] = random_in(0, 3) == 0;
        t.b_repeats[j] = random_in(0, 2) == 0;
      }
      run_case(isa, t, i & 1);
    }
  }
}

TEST(gemm_of_nothing_is_the_epilogue_of_zero) {
  for (const GemmIsa& isa : float_isas())
    for (int form = 0; form < 8; ++form) {
      Case t = {19, 37, 0};
      t.b_transposed = form & 1;
      t.bias = form & 2;
      t.accumulate = form & 4;
      t.activation = GEMM_ACT_RELU;
      run_case(isa, t);
      t.m = 0;
      run_case(isa, t);
      t.m = 3, t.n = 0;
      run_case(isa, t);
    }
}

}  // namespace
