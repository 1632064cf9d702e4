// Convolutions on a GPU against the CPU's: tiles that are not full, strides that leave places out,
// padding, dilation, groups, depthwise, lines, transposed ones, and what follows them fused.
#include <string>
#include <vector>

#include "parity.h"

using namespace tandem;
using namespace tandem::check;

namespace {

using Pair = std::vector<double>;

struct Convolved {
  Shape x, w;
  Pair stride = {1, 1}, padding = {0, 0}, dilation = {1, 1};
  double groups = 1;
};

const std::vector<Convolved> kConvolved = {
    {{1, 1, 1, 1}, {1, 1, 1, 1}},
    {{2, 3, 9, 8}, {5, 3, 3, 3}, {1, 1}, {1, 1}},
    {{3, 16, 14, 14}, {70, 16, 3, 3}, {1, 1}, {1, 1}},
    {{2, 70, 7, 9}, {65, 70, 1, 1}},
    {{2, 3, 23, 21}, {8, 3, 7, 7}, {2, 2}, {3, 3}},
    {{2, 4, 11, 10}, {6, 4, 3, 2}, {2, 3}, {1, 0}},
    {{2, 5, 15, 13}, {4, 5, 3, 3}, {1, 2}, {2, 3}, {2, 3}},
    {{2, 6, 9, 9}, {8, 3, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 2},
    {{3, 7, 10, 11}, {7, 1, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 7},
    {{2, 5, 12, 9}, {10, 1, 5, 3}, {2, 1}, {2, 1}, {1, 1}, 5},
    {{9, 2, 30, 31}, {3, 2, 5, 5}, {1, 1}, {2, 2}}};

AttributeList attributes_of(const Convolved& c) {
  return {
      {"stride", c.stride}, {"padding", c.padding}, {"dilation", c.dilation}, {"groups", c.groups}};
}

}  // namespace

TEST(gpu_convolutions) {
  for (const Convolved& c : kConvolved) {
    const std::string name = to_string(c.x) + " by " + to_string(c.w);
    const std::vector<Feed> feeds = {{c.x}, {c.w}, {{c.w[0]}}};
    compare({"conv2d " + name, {{c.x}, {c.w}}, {{"conv2d", {0, 1}, attributes_of(c)}}});
    for (const char* activation : {"relu", "silu"}) {
      compare({"conv2d and " + std::string(activation) + name,
               feeds,
               {{"conv2d", {0, 1, 2}, attributes_of(c)}, {activation, {3}, {}}}});
    }
  }
}

TEST(gpu_convolutions_of_lines) {
  compare({"conv1d",
           {{{3, 5, 70}}, {{9, 5, 4}}, {{9}}},
           {{"conv1d", {0, 1, 2}, {{"stride", Pair{1, 2}}, {"padding", Pair{0, 3}}}}}});
  compare({"depthwise conv1d",
           {{{3, 5, 70}}, {{5, 1, 4}}},
           {{"conv1d", {0, 1}, {{"groups", 5.0}, {"dilation", Pair{1, 3}}}}}});
}

TEST(gpu_transposed_convolutions) {
  struct Transposed {
    Shape x, w;
    Pair stride, padding, extra;
    double groups;
  };
  const std::vector<Transposed> cases = {{{2, 3, 5, 6}, {3, 4, 3, 3}, {1, 1}, {1, 1}, {0, 0}, 1},
                                         {{2, 6, 5, 6}, {6, 5, 4, 3}, {2, 3}, {1, 0}, {1, 2}, 2},
                                         {{2, 70, 4, 4}, {70, 66, 2, 2}, {2, 2}, {0, 0}, {0, 0}, 1},
                                         {{2, 5, 6, 7}, {5, 1, 3, 3}, {2, 2}, {1, 1}, {1, 1}, 5}};
  for (const Transposed& c : cases) {
    const auto channels = c.w[1] * static_cast<int64_t>(c.groups);
    compare({"convTranspose2d " + to_string(c.x),
             {{c.x}, {c.w}, {{channels}}},
             {{"convTranspose2d",
               {0, 1, 2},
               {{"stride", c.stride},
                {"padding", c.padding},
                {"outputPadding", c.extra},
                {"groups", c.groups}}}}});
  }
}
