// Normalisations of rows and of channels, and their gradients.
#include <functional>

#include "core/ops/batch_norm.h"
#include "core/ops/row_norm.h"
#include "norm.h"
#include "program.h"
#include "roofs.h"
#include "suite.h"

namespace tandem::bench {
namespace {

struct Rows {
  int64_t count, length;
  bool quick;
};
constexpr Rows kRows[] = {{768, 128, true}, {2048, 384, false}, {16384, 1024, true}};

struct Images {
  int64_t n, c, side;
  bool quick;
};
constexpr Images kImages[] = {{64, 8, 14, true}, {64, 64, 28, true}, {128, 512, 1, false}};

/// What a step of training reads and writes at least once: x and y; dy, x and dx.
constexpr Traffic kForward{1, 1, false};
constexpr Traffic kGradient{2, 1, false};

/// A node over x (and dy) with operands of other shapes behind.
Graph single_node(Op op, const AttributeStorage& attributes, const Shape& shape, int whole,
                  const std::vector<Shape>& others) {
  Graph graph;
  std::vector<ValueId> operands;
  operands.reserve(static_cast<size_t>(whole) + others.size());
  for (int i = 0; i < whole; ++i)
    operands.push_back(graph.add_input(make_tensor(shape, DType::kFloat32)));
  for (const Shape& other : others) {
    operands.push_back(other.empty() ? kNoValue
                                     : graph.add_input(make_tensor(other, DType::kFloat32)));
  }
  const ValueId result = graph.apply(op, operands, attributes);
  graph.outputs = graph.producer(result)->outputs;
  return graph;
}

void measure(const Suite& suite, const std::string& name, int64_t elements, const Traffic& traffic,
             const Norm& norm, const std::function<Graph()>& graph) {
  constexpr int64_t kTooSmallToShare = 64 << 10;
  for (const int threads : suite.options().threads) {
    const Case c{"norm", name, "f32", threads, "GB/s"};
    const int64_t bytes = elements * (traffic.reads + traffic.writes) * 4;
    if (!suite.wants(c) || (threads > 1 && bytes < kTooSmallToShare)) continue;
    std::vector<Side> sides = under_roof(
        {our_program(graph(), static_cast<double>(bytes), threads)}, traffic, bytes, threads);
    if (const auto peer = onednn_norm(norm, static_cast<double>(bytes), threads))
      sides.push_back(*peer);
    suite.measure(c, sides);
  }
}

void run_rows(const Suite& suite, const Rows& rows) {
  const Shape shape{rows.count, rows.length};
  const Shape row{rows.length};
  const Shape numbers{rows.count};
  const int64_t elements = rows.count * rows.length;
  const std::string size = ' ' + joined({rows.count, rows.length});
  for (const bool centered : {true, false}) {
    const Op op = centered ? Op::layerNorm : Op::rmsNorm;
    const Op grad = centered ? Op::layerNormGrad : Op::rmsNormGrad;
    const Norm::Kind kind = centered ? Norm::kLayer : Norm::kOther;
    measure(suite, std::string(name(op)) + size, elements, kForward, {kind, shape, false}, [&] {
      std::vector<Shape> weights{row};
      if (centered) weights.push_back(row);
      return single_node(op, make_attributes(op, {}), shape, 1, weights);
    });
    measure(suite, std::string(name(grad)) + size, elements, kGradient, {kind, shape, true}, [&] {
      AttributeStorage storage = make_attributes(grad, {});
      auto& attributes = *reinterpret_cast<ops::RowNormGradBase::Attributes*>(storage.bytes.data());
      attributes.dw = true;
      attributes.db = centered;
      attributes.length = rows.length;
      std::vector<Shape> others{row, {}, numbers};
      if (centered) others.push_back(numbers);
      return single_node(grad, storage, shape, 2, others);
    });
  }
}

void run_images(const Suite& suite, const Images& images) {
  const Shape shape{images.n, images.c, images.side, images.side};
  const Shape channels{images.c};
  const int64_t elements = images.n * images.c * images.side * images.side;
  const std::string size = ' ' + joined({images.n, images.c, images.side, images.side});
  measure(suite, "batchNorm" + size, elements, kForward, {Norm::kBatch, shape, false}, [&] {
    return single_node(Op::batchNorm, make_attributes(Op::batchNorm, {}), shape, 1,
                       {channels, channels});
  });
  measure(suite, "batchNormGrad" + size, elements, kGradient, {Norm::kBatch, shape, true}, [&] {
    AttributeStorage storage = make_attributes(Op::batchNormGrad, {});
    *reinterpret_cast<ops::BatchNormGrad::Attributes*>(storage.bytes.data()) = {1e-5F, true, true};
    return single_node(Op::batchNormGrad, storage, shape, 2, {channels, channels, channels});
  });
}

}  // namespace

void run_norms(const Suite& suite) {
  for (const Rows& rows : kRows) {
    if (!suite.options().quick || rows.quick) run_rows(suite, rows);
  }
  for (const Images& images : kImages) {
    if (!suite.options().quick || images.quick) run_images(suite, images);
  }
}

}  // namespace tandem::bench
