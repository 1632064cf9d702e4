#include "cpu/placeholder.h"

#include <vector>

#include "check.h"

TEST(placeholder_sum) {
  const std::vector<float> ones(37, 1.0F);
  CHECK_NEAR(tandem::cpu::sum(ones.data(), 37), 37, 1e-6);
}
