// lstm and gru on a GPU against the CPU's: units and rows that do not fill blocks, one step and
// many.
#include <string>
#include <vector>

#include "parity.h"

using namespace tandem;
using namespace tandem::check;

TEST(gpu_recurrent) {
  struct Sizes {
    int64_t batch, time, units;
  };
  for (const Sizes& s : {Sizes{1, 1, 1}, {3, 5, 7}, {65, 4, 16}, {2, 9, 33}, {70, 3, 50}}) {
    const std::string name = to_string(Shape{s.batch, s.time, s.units});
    const int64_t n = s.units;
    compare({"lstm " + name,
             {{{s.batch, s.time, 4 * n}, -2, 2}, {{4 * n, n}, -0.3, 0.3}},
             {{"lstm", {0, 1}, {}}}});
    compare({"gru " + name,
             {{{s.batch, s.time, 3 * n}, -2, 2}, {{3 * n, n}, -0.3, 0.3}, {{3 * n}}},
             {{"gru", {0, 1, 2}, {}}}});
  }
}

TEST(gpu_recurrent_keeps_nothing_without_gradients) {
  compare(
      {"lstm", {{{5, 6, 4 * 9}, -2, 2}, {{4 * 9, 9}, -0.3, 0.3}}, {{"lstm", {0, 1}, {}}}, false});
  compare({"gru",
           {{{5, 6, 3 * 9}, -2, 2}, {{3 * 9, 9}, -0.3, 0.3}, {{3 * 9}}},
           {{"gru", {0, 1, 2}, {}}},
           false});
}
