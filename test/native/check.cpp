#include "check.h"

#include <limits>
#include <stdexcept>

using tandem::check::near;

TEST(check_near_is_relative_beyond_one_and_absolute_below) {
  CHECK(near(1000.5, 1000.0, 1e-3));
  CHECK(!near(1002.0, 1000.0, 1e-3));
  CHECK(near(1e-6, 0.0, 1e-5));
  CHECK(!near(1e-4, 0.0, 1e-5));
}

TEST(check_near_accepts_nan_and_infinity_only_for_themselves) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(near(nan, nan, 1.0));
  CHECK(!near(nan, 0.0, 1.0));
  CHECK(!near(0.0, nan, 1.0));
  CHECK(near(inf, inf, 1.0));
  CHECK(!near(-inf, inf, 1.0));
  CHECK(!near(0.0, inf, 1.0));
}

TEST(check_throws_sees_exceptions) { CHECK_THROWS(throw std::runtime_error("expected")); }

TEST(check_asks_for_parts_of_names_and_whole_ones) {
  using tandem::check::asks_for;
  CHECK(asks_for(nullptr, "gpu_softmax"));
  CHECK(asks_for("soft", "gpu_softmax") && !asks_for("hard", "gpu_softmax"));
  CHECK(asks_for("=gpu_softmax", "gpu_softmax"));
  CHECK(!asks_for("=gpu_softmax", "gpu_softmax_of_rows") && !asks_for("=softmax", "gpu_softmax"));
}
