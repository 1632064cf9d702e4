// The normalisations on a GPU against the CPU's: rows for a warp, in its registers, and for a
// block, channels side by side and in planes, without weights, with a residual, and whole training
// steps with running statistics.
#include <vector>

#include "core/trainer.h"
#include "parity.h"

using namespace tandem;
using namespace tandem::check;

namespace {

NodeDescription node(const char* op, std::vector<int64_t> inputs, AttributeList attributes = {}) {
  return {op, std::move(inputs), std::move(attributes)};
}

}  // namespace

TEST(gpu_row_norms) {
  for (const Shape& shape : {Shape{1, 3},
                             {7, 5},
                             {65, 33},
                             {300, 768},
                             {5, 1024},
                             {3, 1025},
                             {2, 5000},
                             {3, 5, 31},
                             {1, 4},
                             {9, 252},
                             {1601, 260},
                             {700, 640},
                             {5000, 900}}) {
    const Shape row{shape.back()};
    const std::string name = to_string(shape);
    compare({"layerNorm " + name,
             {{shape, -2, 3}, {row, 0.5, 2}, {row}},
             {node("layerNorm", {0, 1, 2})}});
    compare({"layerNorm without weights " + name, {{shape, -2, 3}}, {node("layerNorm", {0})}});
    compare({"rmsNorm " + name, {{shape, -2, 3}, {row, 0.5, 2}}, {node("rmsNorm", {0, 1})}});
    compare({"layerNorm of a sum " + name,
             {{shape}, {shape}, {row, 0.5, 2}, {row}},
             {node("layerNorm", {0, 2, 3, 1})}});
    compare({"rmsNorm of a sum " + name,
             {{shape}, {shape}, {row, 0.5, 2}},
             {node("add", {0, 1}), node("rmsNorm", {3, 2}), node("add", {4, 3})}});
  }
  compare({"layerNorm of two axes",
           {{{6, 5, 7}}, {{5, 7}, 0.5, 2}, {{5, 7}}},
           {node("layerNorm", {0, 1, 2})}});
  compare(
      {"layerNorm far from zero", {{{9, 300}, 1000, 1001}}, {node("layerNorm", {0})}, true, 1e-3});
  compare({"layerNorm of no rows", {{{0, 8}}, {{8}}, {{8}}}, {node("layerNorm", {0, 1, 2})}});
}

TEST(gpu_group_norm) {
  struct Case {
    Shape shape;
    double groups;
  };
  const std::vector<Case> cases = {{{3, 6}, 2},        {{2, 4, 5}, 4},      {{5, 6, 7, 3}, 3},
                                   {{2, 32, 9, 9}, 4}, {{3, 8, 40, 41}, 2}, {{33, 64}, 1}};
  for (const Case& c : cases) {
    const Shape channels{c.shape[1]};
    compare({"groupNorm " + to_string(c.shape),
             {{c.shape, -2, 3}, {channels, 0.5, 2}, {channels}},
             {node("groupNorm", {0, 1, 2}, {{"groups", c.groups}})}});
    compare({"groupNorm without weights " + to_string(c.shape),
             {{c.shape, -2, 3}},
             {node("groupNorm", {0}, {{"groups", c.groups}})}});
  }
}

TEST(gpu_batch_norm) {
  for (const Shape& shape : {Shape{5, 1},
                             {300, 5},
                             {65, 33},
                             {9, 3, 50},
                             {5, 6, 7, 3},
                             {70, 3, 40, 41},
                             {3, 130, 1, 1},
                             {1000, 2, 3}}) {
    const Shape channels{shape[1]};
    const std::string name = to_string(shape);
    const Feed x{shape, -2, 3};
    const Feed w{channels, 0.5, 2};
    const Feed b{channels};
    const Feed variance{channels, 0.5, 2};
    compare({"batchNorm " + name, {x, w, b}, {node("batchNorm", {0, 1, 2})}});
    compare({"batchNorm without weights " + name, {x}, {node("batchNorm", {0})}});
    compare({"batchNorm by given statistics " + name,
             {x, w, b, {channels}, variance},
             {node("batchNorm", {0, 1, 2, 3, 4})}});
    for (const char* activation : {"relu", "silu"}) {
      compare({"batchNorm and " + std::string(activation) + name,
               {x, w, b, {channels}, variance},
               {node("batchNorm", {0, 1, 2, 3, 4}), node(activation, {5})},
               false});
    }
  }
  compare({"batchNorm far from zero",
           {{{70, 3, 11}, 1000, 1001}},
           {node("batchNorm", {0})},
           true,
           1e-3});
}

TEST(gpu_moves_running_statistics) {
  GraphDescription d;
  d.inputs = {{"x", {-1, 5, 7}, DType::kFloat32}};
  d.parameters = {{"mean", {5}, false, {InitializerKind::kUniform, -0.1, 0.1}},
                  {"variance", {5}, false, {InitializerKind::kUniform, 0.9, 1.1}},
                  {"w", {5}, true, {InitializerKind::kUniform, 0.5, 1.5}}};
  d.nodes = {node("batchNorm", {0, 3, -1, 1, 2}, {{"running", true}, {"momentum", 0.3}}),
             node("mul", {4, 4}), node("mean", {5})};
  d.outputs = {6};
  std::vector<float> x(20 * 35);
  std::mt19937 engine(3);
  for (float& value : x) value = static_cast<float>(engine() >> 8) * 0x1p-24F;
  const auto trained = [&](const Backend& backend) {
    auto store = std::make_shared<ParameterStore>(d.parameters, 5);
    TrainerOptions options;
    options.optimizer = Op::sgd;
    options.optimizer_attributes = make_attributes(Op::sgd, {});
    Trainer trainer(store, d, options, backend);
    double results[1 + Trainer::kStepResults];
    for (int i = 0; i < 4; ++i) trainer.train(20, {x.data()}, 0.1, results);
    trainer.sync();
    const auto* p = reinterpret_cast<const float*>(store->memory().data.get());
    return std::vector<float>(p, p + store->memory().bytes / 4);
  };
  const std::vector<float> got = trained(gpu());
  const std::vector<float> want = trained(cpu_backend());
  CHECK(distance(got.data(), want.data(), static_cast<int64_t>(want.size())) < kTolerance);
}
