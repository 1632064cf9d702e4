// Predictors that say that rows are alike give each row the bits that it has alone.
#include <cstring>
#include <vector>

#include "check.h"
#include "core/predictor.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;

namespace {

constexpr int64_t kIn = 37, kOut = 13;

/// x -> linear to `width` -> `activation`, twice over -> linear -> `last`
GraphDescription network(int64_t width, const std::string& activation, const char* last) {
  GraphDescription d;
  d.inputs = {{"x", {-1, kIn}, DType::kFloat32}};
  const Initializer uniform{InitializerKind::kUniform, -0.4, 0.4};
  d.parameters = {{"a.weight", {width, kIn}, true, uniform},
                  {"a.bias", {width}, true, uniform},
                  {"b.weight", {kOut, width}, true, uniform}};
  d.nodes = {{"linear", {0, 1, 2}, {}},
             {activation, {4}, {}},
             {activation, {5}, {}},
             {"linear", {6, 3}, {}},
             {last, {7}, {}}};
  d.outputs = {8};
  return d;
}

int64_t alike(const GraphDescription& d, int64_t max_batch = 64,
              Precision precision = Precision::kFloat32, int64_t memory_limit = 0) {
  const ParameterStore store(d.parameters, 7);
  return Predictor(store, d, 1, max_batch, cpu_backend(), precision, memory_limit).joinable_rows();
}

void check_bits(const GraphDescription& d) {
  const ParameterStore store(d.parameters, 7);
  Predictor predictor(store, d, 2, 64, cpu_backend());
  const int64_t most = predictor.joinable_rows();
  CHECK(most == 4);
  const std::vector<float> x = random_floats(most * kIn, 3, -2.0F, 2.0F);
  std::vector<float> alone(static_cast<size_t>(most * kOut));
  Predictor::Session one(predictor);
  for (int64_t i = 0; i < most; ++i) one.run(1, {x.data() + i * kIn}, {alone.data() + i * kOut});
  const auto some = Predictor::Session::for_joined_calls(predictor, 0, true);
  for (int64_t rows = 2; rows <= most; ++rows) {
    std::vector<float> together(static_cast<size_t>(rows * kOut));
    some->run(rows, {x.data()}, {together.data()});
    CHECK(std::memcmp(alone.data(), together.data(), together.size() * sizeof(float)) == 0);
  }
  CHECK(predictor.profile().batch == 1);
}

}  // namespace

TEST(alike_rows_have_the_bits_that_they_have_alone) {
  // every unary op, twice: the first in the product's epilogue, the second as a node
  for (const char* op : {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) #name,
#include "core/elementwise.def"
       })
    check_bits(network(70, op, "relu"));
  for (const int64_t width : {1, 16, 33, 200})
    for (const char* last : {"softmax", "logSoftmax", "tanh"})
      check_bits(network(width, "gelu", last));
}

TEST(alike_rows_are_not_claimed_of_other_models) {
  const GraphDescription dense = network(24, "relu", "softmax");
  CHECK(alike(dense) == 4);
  CHECK(alike(dense, 3) == 3);
  CHECK(alike(dense, 64, Precision::kBf16Mixed) == 1);
  CHECK(alike(dense, 64, Precision::kFloat32, 1 << 30) == 1);

  GraphDescription whole = dense;
  whole.inputs[0].shape[0] = 2;  // a batch that is no row of others
  CHECK(alike(whole) == 1);

  GraphDescription norm = dense;
  norm.nodes.push_back({"mean", {8}, {{"axes", std::vector<double>{0.0}}}});
  norm.outputs = {9};
  CHECK(alike(norm) == 1);

  GraphDescription across = dense;
  across.nodes.back().attributes = {{"axis", 0.0}};
  CHECK(alike(across) == 1);

  GraphDescription more = dense;  // of each row four
  more.nodes = {{"reshape", {0}, {{"shape", std::vector<double>{-1.0, 1.0}}}}};
  more.outputs = {4};
  CHECK(alike(more) == 1);
}
