// Attention on a GPU against the CPU's, of float32 and with factors rounded to bfloat16 and
// float16: heads apart and side by side, blocks that are not full, heads wider than a block, keys
// of another length, masks broadcast along every axis, and rows that see nothing.
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

/// How products round, and how far both may be apart then: each rounds exponentials of its own.
struct Kind {
  const char* name;
  Precision precision;
  double tolerance;
};
constexpr Kind kKinds[] = {{"", Precision::kFloat32, kTolerance},
                           {" in bfloat16", Precision::kBf16Mixed, 1e-2},
                           {" in float16", Precision::kFp16Mixed, 1e-2}};

/// Compares in all of them.
void compare_kinds(const Case& c) {
  for (const Kind& kind : kKinds) {
    Case rounded = c;
    rounded.name += kind.name;
    rounded.precision = kind.precision;
    rounded.tolerance = kind.tolerance;
    compare(rounded);
  }
}

constexpr Sizes kSizes[] = {
    {1, 1, 1, 1, 1, 1},        {2, 3, 5, 7, 4, 6},       {1, 2, 64, 64, 64, 64},
    {2, 1, 65, 130, 33, 9},    {1, 2, 200, 100, 20, 70}, {1, 1, 70, 129, 130, 132},
    {1, 1, 3, 66, 65, 200},    {1, 2, 130, 300, 64, 64}, {1, 1, 257, 257, 32, 48},
    {1, 1, 140, 190, 64, 128}, {1, 1, 66, 80, 128, 32}};

}  // namespace

TEST(gpu_attention) {
  for (const Sizes& s : kSizes) {
    for (const bool causal : {false, true})
      compare_kinds(
          {"attention " + text(s), apart(s), {attention({0, 1, 2}, {{"causal", causal}})}});
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
      compare_kinds({"attention with a mask " + to_string(mask),
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
  compare_kinds({"attention with hidden rows",
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
        compare_kinds({name, {{{2, 67, 3 * width}, -2, 2}}, {attention({0}, attributes)}});
        compare_kinds({name + ", keys and values",
                       {{{2, 67, width}, -2, 2}, {{2, 20, 2 * width}, -2, 2}},
                       {attention({0, 1}, attributes)}});
        compare_kinds(
            {name + ", all apart",
             {{{2, 30, width}, -2, 2}, {{2, 70, width}, -2, 2}, {{2, 70, 2 * width}, -2, 2}},
             {attention({0, 1, 2}, attributes)}});
      }
    }
  }
}
