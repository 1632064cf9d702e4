// Attention on a GPU against the CPU's: heads apart and side by side, blocks that are not full,
// heads wider than a block, keys of another length, masks broadcast along every axis, rows that see
// nothing, and products of bfloat16.
#include <string>
#include <vector>

#include "parity.h"

using namespace tandem;
using namespace tandem::check;

namespace {

struct Sizes {
  int64_t batch, heads, time, keys, depth, value_depth;
};

NodeDescription attention(std::vector<int64_t> inputs, AttributeList attributes) {
  return {"attention", std::move(inputs), std::move(attributes)};
}

std::vector<Feed> apart(const Sizes& s) {
  return {{{s.batch, s.heads, s.time, s.depth}, -2, 2},
          {{s.batch, s.heads, s.keys, s.depth}, -2, 2},
          {{s.batch, s.heads, s.keys, s.value_depth}, -1, 2}};
}

std::string text(const Sizes& s) {
  return to_string(Shape{s.batch, s.heads, s.time, s.keys, s.depth, s.value_depth});
}

constexpr Sizes kSizes[] = {{1, 1, 1, 1, 1, 1},       {2, 3, 5, 7, 4, 6},
                            {1, 2, 64, 64, 64, 64},   {2, 1, 65, 130, 33, 9},
                            {1, 2, 200, 100, 20, 70}, {1, 1, 70, 129, 130, 132},
                            {1, 1, 3, 66, 65, 200}};

}  // namespace

TEST(gpu_attention) {
  for (const Sizes& s : kSizes) {
    for (const bool causal : {false, true})
      compare({"attention " + text(s), apart(s), {attention({0, 1, 2}, {{"causal", causal}})}});
  }
}

TEST(gpu_attention_with_masks) {
  const Sizes s{2, 3, 70, 67, 12, 8};
  for (const Shape& mask : {Shape{70, 67},
                            {1, 67},
                            {70, 1},
                            {67},
                            {1},
                            {3, 1, 67},
                            {2, 1, 70, 67},
                            {2, 3, 70, 67},
                            {2, 1, 1, 67},
                            {1, 3, 70, 1}}) {
    for (const bool causal : {false, true}) {
      std::vector<Feed> feeds = apart(s);
      feeds.push_back({mask, -2, 2});
      compare({"attention with a mask " + to_string(mask),
               feeds,
               {attention({0, 1, 2, 3}, {{"causal", causal}})},
               mask.back() != 1});  // what all keys share has no gradient but rounding
    }
  }
}

TEST(gpu_attention_of_queries_that_see_nothing) {
  const Sizes s{1, 2, 66, 5, 8, 8};
  std::vector<Feed> feeds = apart(s);
  feeds.push_back({{66, 1}, 0, 2, DType::kInt32});
  feeds.push_back({{1}, 0, 1});
  feeds.push_back({{1}, -1e39, -1e39});  // -infinity as a float
  compare({"attention with hidden rows",
           feeds,
           {{"where", {3, 4, 5}, {}}, attention({0, 1, 2, 6}, {})},
           false});
}

TEST(gpu_attention_of_joined_heads) {
  for (const double heads : {1.0, 3.0}) {
    for (const int64_t depth : {4, 5, 64}) {
      const auto width = static_cast<int64_t>(heads) * depth;
      const std::string name = "attention of joined heads " + to_string(Shape{width, depth});
      for (const bool causal : {false, true}) {
        const AttributeList attributes = {{"heads", heads}, {"causal", causal}};
        compare({name, {{{2, 67, 3 * width}, -2, 2}}, {attention({0}, attributes)}});
        compare({name + ", keys and values",
                 {{{2, 67, width}, -2, 2}, {{2, 20, 2 * width}, -2, 2}},
                 {attention({0, 1}, attributes)}});
        compare({name + ", all apart",
                 {{{2, 30, width}, -2, 2}, {{2, 70, width}, -2, 2}, {{2, 70, 2 * width}, -2, 2}},
                 {attention({0, 1, 2}, attributes)}});
      }
    }
  }
}
