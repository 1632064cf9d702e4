// One model of each kind, whose plans are long enough to be shared, and one whose are not.
#pragma once

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/model.h"
#include "training_support.h"

namespace tandem {

struct WarmModel {
  const char* name;
  int64_t rows;
  GraphDescription graph;
  bool decoupled = false;        ///< trained with AdamW
  bool is_brief = false;         ///< whether its plans stay on the thread that runs them
  bool is_update_brief = false;  ///< the same of the optimizer alone
};

/// Numbers the values of a description: inputs and parameters first, in the order of their calls.
class ModelDraft {
 public:
  int64_t input(Shape shape, DType dtype = DType::kFloat32) {
    graph.inputs.push_back({std::to_string(next_), std::move(shape), dtype});
    return next_++;
  }
  int64_t parameter(Shape shape, double low = -0.2, double high = 0.2, bool trainable = true) {
    graph.parameters.push_back({std::to_string(next_),
                                std::move(shape),
                                trainable,
                                {InitializerKind::kUniform, low, high}});
    return next_++;
  }
  int64_t node(const char* op, std::vector<int64_t> inputs, AttributeList attributes = {}) {
    graph.nodes.push_back({op, std::move(inputs), std::move(attributes)});
    return next_++;
  }
  /// With a loss: the mean of cross-entropies; else the logits.
  void finish(int64_t logits, int64_t targets) {
    if (targets < 0) {
      graph.outputs = {logits};
      return;
    }
    const int64_t divisor = node("countTargets", {targets});
    graph.outputs = {node("crossEntropy", {logits, targets, -1, -1, divisor})};
  }

  GraphDescription graph;

 private:
  int64_t next_ = 0;
};

/// conv2d, batchNorm with running statistics, relu, maxPool2d, twice, and dense.
inline GraphDescription warm_cnn(bool loss) {
  ModelDraft d;
  const int64_t x = d.input({-1, 3, 17, 17});
  const int64_t t = loss ? d.input({-1}, DType::kInt32) : -1;
  struct Block {
    int64_t weight, scale, shift, mean, variance;
  };
  std::vector<Block> blocks;
  int64_t channels = 3;
  for (const int64_t filters : {16, 24}) {
    blocks.push_back({d.parameter({filters, channels, 3, 3}), d.parameter({filters}, 0.8, 1.2),
                      d.parameter({filters}), d.parameter({filters}, 0, 0, false),
                      d.parameter({filters}, 1, 1, false)});
    channels = filters;
  }
  const int64_t head = d.parameter({10, 24 * 4 * 4});
  const int64_t bias = d.parameter({10});
  int64_t y = x;
  for (const Block& b : blocks) {
    y = d.node("conv2d", {y, b.weight}, {{"padding", 1.0}});
    y = d.node("batchNorm", {y, b.scale, b.shift, b.mean, b.variance}, {{"running", true}});
    y = d.node("maxPool2d", {d.node("relu", {y})}, {{"kernel", 2.0}, {"stride", 2.0}});
  }
  d.finish(d.node("linear", {d.node("flatten", {y}), head, bias}), t);
  return d.graph;
}

/// Tokens, an embedding, a block of attention and two products with norms, dropout and residuals.
inline GraphDescription warm_gpt(bool loss) {
  constexpr int64_t kTime = 33;
  constexpr int64_t kWidth = 48;
  ModelDraft d;
  const int64_t x = d.input({-1, kTime}, DType::kInt32);
  const int64_t t = loss ? d.input({-1, kTime}, DType::kInt32) : -1;
  const int64_t tokens = d.parameter({10, kWidth});
  const int64_t norm1 = d.parameter({kWidth}, 0.8, 1.2);
  const int64_t qkv = d.parameter({3 * kWidth, kWidth});
  const int64_t out = d.parameter({kWidth, kWidth});
  const int64_t norm2 = d.parameter({kWidth}, 0.8, 1.2);
  const int64_t up = d.parameter({4 * kWidth, kWidth});
  const int64_t up_bias = d.parameter({4 * kWidth});
  const int64_t down = d.parameter({kWidth, 4 * kWidth});
  const int64_t head = d.parameter({10, kWidth});
  const auto dropout = [&](int64_t value, double seed) {
    return d.node("dropout", {value}, {{"rate", 0.1}, {"seed", seed}});
  };
  const int64_t embedded = dropout(d.node("embedding", {x, tokens}), 1);
  int64_t y = d.node("linear", {d.node("layerNorm", {embedded, norm1}), qkv});
  y = d.node("attention", {y}, {{"heads", 3.0}, {"causal", true}});
  const int64_t attended = d.node("add", {embedded, dropout(d.node("linear", {y, out}), 2)});
  y = d.node("linear", {d.node("layerNorm", {attended, norm2}), up, up_bias});
  y = dropout(d.node("linear", {d.node("geluTanh", {y}), down}), 3);
  d.finish(d.node("linear", {d.node("add", {attended, y}), head}), t);
  return d.graph;
}

/// An LSTM over sequences, and dense of its last state.
inline GraphDescription warm_lstm(bool loss) {
  constexpr int64_t kTime = 19;
  constexpr int64_t kUnits = 40;
  ModelDraft d;
  const int64_t x = d.input({-1, kTime, 13});
  const int64_t t = loss ? d.input({-1}, DType::kInt32) : -1;
  const int64_t weight = d.parameter({4 * kUnits, 13});
  const int64_t bias = d.parameter({4 * kUnits});
  const int64_t recurrent = d.parameter({4 * kUnits, kUnits});
  const int64_t head = d.parameter({10, kUnits});
  const int64_t states = d.node("lstm", {d.node("linear", {x, weight, bias}), recurrent});
  const int64_t last = d.node("slice", {states}, {{"axis", 1.0}, {"start", kTime - 1.0}});
  d.finish(d.node("linear", {d.node("flatten", {last}), head}), t);
  return d.graph;
}

inline std::vector<WarmModel> warm_models(bool loss) {
  std::vector<WarmModel> models;
  models.push_back({"dense", 263, classifier("gelu", 67, 1031, 10, loss)});
  models.push_back({"brief dense", 2, classifier("relu", 6, 8, 10, loss), false, true, true});
  models.push_back({"convolutions", 17, warm_cnn(loss), false, false, true});
  models.push_back({"transformer", 9, warm_gpt(loss), true});
  models.push_back({"lstm", 35, warm_lstm(loss), false, false, true});
  return models;
}

/// Floats from -1 to 1 and classes below 10 for all inputs of a model.
struct WarmFeeds {
  std::vector<std::vector<float>> data;
  std::vector<const void*> inputs;

  explicit WarmFeeds(const WarmModel& model) {
    for (const InputDescription& input : model.graph.inputs) {
      int64_t count = model.rows;
      for (size_t i = 1; i < input.shape.size(); ++i) count *= input.shape[i];
      data.push_back(numbers(count, 1.0F));
      if (input.dtype == DType::kInt32) {
        for (float& x : data.back()) {
          const auto number = static_cast<int32_t>(std::floor((x + 1.0F) * 4.99F));
          std::memcpy(&x, &number, sizeof x);
        }
      }
    }
    for (const std::vector<float>& values : data) inputs.push_back(values.data());
  }
};

}  // namespace tandem
