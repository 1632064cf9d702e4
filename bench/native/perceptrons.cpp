// The forward pass of a perceptron with constant weights: in float32 as one plan, in smaller types
// as products one after the other, which is also what the peers do.
#include "core/fuse.h"
#include "product.h"
#include "program.h"
#include "roofs.h"
#include "suite.h"

namespace tandem::bench {
namespace {

struct Perceptron {
  std::vector<int64_t> sizes;
  std::vector<int64_t> rows;
};

Graph forward(const std::vector<int64_t>& sizes, int64_t rows) {
  Graph graph;
  ValueId value = graph.add_input(make_tensor({rows, sizes[0]}, DType::kFloat32));
  for (size_t i = 1; i < sizes.size(); ++i) {
    const ValueId weight =
        graph.add_parameter(make_tensor({sizes[i], sizes[i - 1]}, DType::kFloat32));
    const ValueId bias = graph.add_parameter(make_tensor({sizes[i]}, DType::kFloat32));
    value = graph.apply(Op::linear, {value, weight, bias});
    if (i + 1 < sizes.size()) value = graph.apply(Op::relu, {value});
  }
  graph.outputs = {value};
  fuse(graph, cpu_backend());
  return graph;
}

/// The layers' products as one side, or none when a layer has none.
std::optional<Side> chain(const std::vector<int64_t>& sizes, int64_t rows, const Case& c,
                          std::optional<Side> (*peer)(const Product&, const std::string&, int)) {
  std::vector<Side> layers;
  Side all{"", 0, nullptr};
  for (size_t i = 1; i < sizes.size(); ++i) {
    const bool last = i + 1 == sizes.size();
    auto layer = peer({rows, sizes[i], sizes[i - 1], false, true, true, !last}, c.type, c.threads);
    if (!layer) return {};
    all.name = layer->name;
    all.work += layer->work;
    layers.push_back(std::move(*layer));
  }
  all.run = [layers](int64_t calls) {
    for (int64_t i = 0; i < calls; ++i) {
      for (const Side& layer : layers) layer.run(1);
    }
  };
  return all;
}

std::optional<Side> some_product(const Product& product, const std::string& type, int threads) {
  return our_product(product, type, threads);
}

std::string title(const std::vector<int64_t>& sizes, int64_t rows) {
  std::string text = std::to_string(sizes[0]);
  for (size_t i = 1; i < sizes.size(); ++i) text.append("-").append(std::to_string(sizes[i]));
  return text + " x" + std::to_string(rows);
}

void measure_forward(const Suite& suite, const Case& c, const std::vector<int64_t>& sizes,
                     int64_t rows) {
  double operations = 0;
  for (size_t i = 1; i < sizes.size(); ++i)
    operations += Product{rows, sizes[i], sizes[i - 1]}.operations();
  std::vector<Side> sides;
  if (c.type == "f32") {
    sides.push_back(our_program(forward(sizes, rows), operations, c.threads, true));
  } else {
    sides.push_back(*chain(sizes, rows, c, some_product));
  }
  if (auto side = peak(c.type, c.threads)) sides.push_back(std::move(*side));
  for (const auto peer : {onednn_product, openblas_product}) {
    if (auto side = chain(sizes, rows, c, peer)) sides.push_back(std::move(*side));
  }
  suite.measure(c, sides);
}

}  // namespace

void run_perceptrons(const Suite& suite) {
  const Perceptron perceptrons[] = {{{784, 512, 256, 10}, {1, 8, 128, 256}},
                                    {{30, 64, 32, 2}, {1, 32}}};
  for (const Perceptron& perceptron : perceptrons) {
    for (const int64_t rows : perceptron.rows) {
      for (const std::string type : {"f32", "bf16", "s8"}) {
        for (const int threads : suite.options().threads) {
          const Case c{"perceptron", title(perceptron.sizes, rows), type, threads, unit_of(type)};
          if (suite.wants(c)) measure_forward(suite, c, perceptron.sizes, rows);
        }
      }
    }
  }
}

}  // namespace tandem::bench
