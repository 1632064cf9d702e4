// The poolings on a GPU against the CPU's: windows that overlap, that leave places out, that hang
// over the edges, and that are whole planes.
#include <vector>

#include "parity.h"

using namespace tandem;
using namespace tandem::check;

namespace {

using Pair = std::vector<double>;

struct Pooled {
  Shape shape;
  Pair kernel, stride, padding;
};

const std::vector<Pooled> kPooled = {
    {{2, 3, 8, 8}, {2, 2}, {2, 2}, {0, 0}},  {{1, 1, 1, 1}, {1, 1}, {1, 1}, {0, 0}},
    {{2, 3, 9, 7}, {3, 3}, {2, 2}, {1, 1}},  {{3, 2, 11, 13}, {3, 2}, {1, 3}, {1, 0}},
    {{2, 5, 10, 9}, {2, 2}, {3, 4}, {1, 1}}, {{4, 7, 7, 7}, {7, 7}, {7, 7}, {0, 0}},
    {{2, 2, 40, 41}, {5, 4}, {2, 1}, {2, 2}}};

NodeDescription pool(const char* op, const Pooled& p) {
  return {op, {0}, {{"kernel", p.kernel}, {"stride", p.stride}, {"padding", p.padding}}};
}

}  // namespace

TEST(gpu_pooling) {
  for (const char* op : {"maxPool2d", "avgPool2d"}) {
    for (const Pooled& p : kPooled)
      compare({std::string(op) + " " + to_string(p.shape), {{p.shape}}, {pool(op, p)}});
  }
}

TEST(gpu_max_pooling_takes_the_first_of_equals) {
  // few different numbers, so that maxima are met often
  for (const Pooled& p : kPooled) {
    compare({"maxPool2d of equals " + to_string(p.shape),
             {{p.shape}},
             {{"relu", {0}, {}}, {"maxPool2d", {1}, pool("maxPool2d", p).attributes}}});
  }
}
