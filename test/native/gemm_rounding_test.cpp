// How floats are rounded to bfloat16 on their way to products.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "check.h"
#include "gemm_support.h"

using namespace tandem::cpu;

// One value of A against a one: the product is what it was rounded to.
TEST(gemm_bf16_rounds_to_nearest_even) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float values[][2] = {{1.00390625f, 1.0f},
                             {1.01171875f, 1.015625f},
                             {-1.00390625f, -1.0f},
                             {1.003906369f, 1.0078125f},
                             {1.003906131f, 1.0f},
                             {255.5f, 256.0f},
                             {0x1.fefffep127f, 0x1.fep127f},
                             {0x1.ffp127f, infinity},
                             {-infinity, -infinity},
                             {-0.0f, 0.0f}};
  for_each_family(GEMM_BF16, [&](const GemmIsa& isa, const GemmKernels& kernels) {
    const auto product = [&](float left, float right) {
      GemmDesc d = {};
      d.units = isa.units;
      d.m = d.n = d.k = d.batch[0] = d.batch[1] = 1;
      d.a_row = d.a_col = d.b_row = d.b_col = d.c_row = 1;
      d.type = GEMM_BF16;
      d.from_float = true;
      d.kernels = &kernels;
      const GemmPlan plan = isa.plan(d);
      Guarded<uint8_t> packed(plan.packed_b_bytes, 0, true), scratch(plan.scratch_bytes, 0, true);
      float c = 0;
      for (int64_t i = 0; i < plan.pack_tiles; ++i) isa.pack(plan, &right, packed.data(), i);
      isa.compute(plan, &left, plan.source == GEMM_B_PACKED ? packed.data() : (const void*)&right,
                  &c, {}, 0, scratch.data());
      return c;
    };
    for (const auto& [value, wanted] : values) {
      CHECK(product(value, 1.0f) == wanted);
      CHECK(product(1.0f, value) == wanted);
    }
    const float nan = std::nanf("");
    uint32_t bits = 0x7f800001;  // a NaN whose upper half is that of an infinity
    float quiet;
    std::memcpy(&quiet, &bits, 4);
    for (const float value : {nan, -nan, quiet}) {
      CHECK(std::isnan(product(value, 1.0f)));
      CHECK(std::isnan(product(1.0f, value)));
    }
  });
}
