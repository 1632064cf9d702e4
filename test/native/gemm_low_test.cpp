// Products of bfloat16 and int8 by every family of kernels that the machine has.
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "core/backend.h"
#include "gemm_low_case.h"

namespace {

using namespace tandem::cpu;
using namespace tandem::cpu::low;

// The epilogue is chosen by what the type allows.
Case random_case(GemmType type, int64_t largest) {
  Case t;
  t.type = type;
  t.m = random_in(1, largest), t.n = random_in(1, largest), t.k = random_in(0, largest);
  t.a_transposed = random_in(0, 3) == 0;
  t.b_transposed = coin();
  t.frozen = coin();
  t.gap = coin() ? random_in(1, 20) : 0;
  t.reverse = coin();
  t.bias = coin();
  t.activation = static_cast<GemmActivation>(random_in(0, 2));
  if (type == GEMM_BF16) {
    t.from_float = coin();
    t.a_first = coin();
    t.c_type = coin() ? GEMM_TO_F32 : GEMM_TO_BF16;
    t.pre = coin();
    t.gradient = random_in(0, 3) == 0;
    t.accumulate = random_in(0, 3) == 0;
    t.residual = !t.accumulate && random_in(0, 2) == 0;
    return t;
  }
  const GemmElement types[] = {GEMM_TO_S32, GEMM_TO_F32, GEMM_TO_S8, GEMM_TO_U8};
  t.c_type = types[random_in(0, 3)];
  t.a_signed = coin();
  t.a_zero = coin() ? static_cast<int>(random_in(-120, 200)) : 0;
  t.row_zero = random_in(0, 3) == 0;
  t.column_zero = random_in(0, 3) == 0;
  t.extremes = random_in(0, 3) == 0;
  if (t.c_type == GEMM_TO_S32) {
    t.bias = false;
    t.activation = GEMM_ACT_NONE;
    return t;
  }
  t.scale = coin();
  t.row_scale = coin();
  t.exact_scale = t.c_type != GEMM_TO_F32 && t.scale && coin();
  t.c_zero = static_cast<int>(t.c_type == GEMM_TO_S8 ? random_in(-128, 127) : random_in(0, 255));
  if (t.c_type == GEMM_TO_F32) {
    t.pre = coin();
    t.gradient = random_in(0, 3) == 0;
    t.residual = random_in(0, 3) == 0;
  }
  return t;
}

TEST(gemm_low_matches_naive_on_random_shapes) {
  for (const GemmType type : {GEMM_BF16, GEMM_S8})
    for_each_family(type, [&](const GemmIsa& isa, const GemmKernels& kernels) {
      for (int i = 0; i < 1000; ++i) run_case(isa, kernels, random_case(type, i % 10 ? 40 : 150));
    });
}

TEST(gemm_low_handles_every_edge_of_a_kernel) {
  for (const GemmType type : {GEMM_BF16, GEMM_S8})
    for_each_family(type, [&](const GemmIsa& isa, const GemmKernels& kernels) {
      for (int64_t m = 1; m <= 2 * kernels.panel_rows + 2; m += m < 16 ? 1 : 7)
        for (int64_t n = 1; n <= 137; n += n < 35 || n > 125 ? 1 : 9)
          for (int form = 0; form < (type == GEMM_BF16 ? 8 : 4); ++form) {
            Case t;
            t.type = type;
            t.from_float = form & 4;
            t.a_transposed = t.from_float && (m + n) % 2 != 0;
            t.a_first = form & 1;
            t.m = m, t.n = n, t.k = 1 + (m + n) % 9;
            t.c_type = type == GEMM_BF16 ? GEMM_TO_BF16 : GEMM_TO_U8;
            t.a_signed = t.b_transposed = form & 1;
            t.frozen = form & 2;
            t.scale = t.exact_scale = type == GEMM_S8;
            t.c_zero = 100;
            run_case(isa, kernels, t);
          }
    });
}

TEST(gemm_s8_takes_a_zero_of_each_column_away) {
  for_each_family(GEMM_S8, [](const GemmIsa& isa, const GemmKernels& kernels) {
    const GemmElement types[] = {GEMM_TO_S32, GEMM_TO_F32, GEMM_TO_S8, GEMM_TO_U8};
    for (const int64_t m : {1, 3, 13, 16, 31, 32, 45})
      for (const int64_t n : {1, 15, 16, 17, 32, 33, 64, 101})
        for (const int64_t k : {1, 5, 63, 64, 65, 200})
          for (int form = 0; form < 8; ++form) {
            Case t;
            t.m = m, t.n = n, t.k = k;
            t.c_type = types[(form + k) % 4];
            t.column_zero = true;
            t.a_signed = t.frozen = form & 1;
            t.row_zero = form & 2;
            t.a_zero = form & 4 ? 77 : 0;
            t.scale = t.exact_scale = t.c_type != GEMM_TO_S32;
            t.extremes = n == 101;
            run_case(isa, kernels, t);
          }
  });
}

// Sums times their scale that no integer holds become the largest or the lowest byte.
TEST(gemm_s8_saturates_whatever_the_scale) {
  for_each_family(GEMM_S8, [](const GemmIsa& isa, const GemmKernels& kernels) {
    for (const int exponent : {7, 8, 9, 20, 40, 110})
      for (const int64_t m : {1, 4, 7, 14})
        for (const int64_t n : {16, 32, 40, 64})
          for (int form = 0; form < 4; ++form) {
            Case t;
            t.m = m, t.n = n, t.k = 64;
            t.c_type = form & 1 ? GEMM_TO_S8 : GEMM_TO_U8;
            t.c_zero = form & 2 ? 3 : 0;
            t.scale = t.exact_scale = true;
            t.bias = m == 7;
            t.scale_exponent = exponent;
            run_case(isa, kernels, t);
          }
  });
}

TEST(gemm_low_matches_naive_on_larger_shapes) {
  const int64_t shapes[][3] = {{1, 512, 784},  {8, 256, 512},  {1, 10, 256},    {64, 64, 64},
                               {64, 64, 32},   {128, 65, 257}, {33, 300, 70},   {5, 1030, 200},
                               {60, 96, 2048}, {20, 40, 4096}, {129, 257, 385}, {70, 40, 1000}};
  for (const GemmType type : {GEMM_BF16, GEMM_S8})
    for_each_family(type, [&](const GemmIsa& isa, const GemmKernels& kernels) {
      for (const auto& s : shapes) {
        Case t = random_case(type, 2);
        t.m = s[0], t.n = s[1], t.k = s[2];
        t.gap = s[0] == 70 ? 5 : 0;
        run_case(isa, kernels, t);
      }
    });
}

TEST(gemm_bf16_cuts_sums_that_are_kept_in_float) {
  for_each_family(GEMM_BF16, [](const GemmIsa& isa, const GemmKernels& kernels) {
    for (const int64_t k : {2047, 2049, 4200, 6145})
      for (int form = 0; form < 8; ++form) {
        Case t;
        t.type = GEMM_BF16;
        t.m = 17, t.n = 37, t.k = k;
        t.c_type = GEMM_TO_F32;
        t.a_transposed = form & 1;
        t.b_transposed = form & 2;
        t.from_float = form & 4;
        t.a_first = k % 4 == 1;
        t.pre = t.frozen = form & 1;
        t.bias = t.residual = true;
        t.activation = GEMM_ACT_RELU;
        run_case(isa, kernels, t);
      }
  });
}

TEST(gemm_s8_is_exact_at_the_extremes_of_long_sums) {
  for_each_family(GEMM_S8, [](const GemmIsa& isa, const GemmKernels& kernels) {
    for (const int64_t k : {3000, 4096, 8191})
      for (int form = 0; form < 4; ++form) {
        Case t;
        t.m = 5, t.n = 19, t.k = k;
        t.extremes = true;
        t.a_signed = form & 1;
        t.b_transposed = form & 2;
        t.a_zero = form == 3 ? -128 : 0;
        run_case(isa, kernels, t);
      }
  });
}

TEST(gemm_low_handles_batches_and_repeated_operands) {
  for (const GemmType type : {GEMM_BF16, GEMM_S8})
    for_each_family(type, [&](const GemmIsa& isa, const GemmKernels& kernels) {
      for (int i = 0; i < 150; ++i) {
        Case t = random_case(type, 40);
        t.batch = random_in(1, 5);
        t.b_repeats = coin();
        run_case(isa, kernels, t);
      }
    });
}

TEST(gemm_low_of_nothing_is_the_epilogue_of_zero) {
  for (const GemmType type : {GEMM_BF16, GEMM_S8})
    for_each_family(type, [&](const GemmIsa& isa, const GemmKernels& kernels) {
      for (int form = 0; form < 4; ++form) {
        Case t;
        t.type = type;
        t.m = 19, t.n = 37, t.k = 0;
        t.c_type = GEMM_TO_F32;
        t.b_transposed = form & 1;
        t.bias = form & 2;
        t.activation = GEMM_ACT_RELU;
        run_case(isa, kernels, t);
        t.m = 0;
        run_case(isa, kernels, t);
        t.m = 3, t.n = 0;
        run_case(isa, kernels, t);
      }
    });
}

// What benchmarks say of the machine is what products use: the families beyond those of every type
// and of the tiles in software.
TEST(cpu_extensions_are_those_of_the_families) {
  const tandem::CpuInfo info = tandem::cpu_info();
  std::set<std::string> families;
  for (const GemmIsa& isa : gemm_isas()) {
    if (info.isa != isa.name) continue;
    for (const GemmType type : {GEMM_BF16, GEMM_S8}) {
      for (const GemmKernels* kernels : gemm_families(isa, type)) {
        const std::string name = kernels->name;
        if (name.find('_') != std::string::npos && name.find("reference") == std::string::npos)
          families.insert(name);
      }
    }
  }
  const std::vector<std::string> extensions = tandem::cpu_extensions();
  CHECK(std::set<std::string>(extensions.begin(), extensions.end()) == families);
}

}  // namespace
