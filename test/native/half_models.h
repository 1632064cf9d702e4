// Models for tests of 16-bit products.
#pragma once

#include "core/model.h"

namespace tandem {

/// Tokens -> embedding -> attention and a layer of two products, with norms and residuals -> logits
/// of classes that are no multiple of 8 -> crossEntropy.
inline GraphDescription transformer(int64_t time, int64_t width, int64_t classes) {
  GraphDescription d;
  d.inputs = {{"x", {-1, time}, DType::kInt32}, {"t", {-1, time}, DType::kInt32}};
  const Initializer uniform{InitializerKind::kUniform, -0.3, 0.3};
  const Initializer near_one{InitializerKind::kUniform, 0.8, 1.2};
  const int64_t hidden = 3 * width;
  d.parameters = {{"embedding", {classes, width}, true, uniform},      // 2
                  {"a.weight", {width}, true, near_one},               // 3
                  {"a.bias", {width}, true, uniform},                  // 4
                  {"qkv.weight", {3 * width, width}, true, uniform},   // 5
                  {"qkv.bias", {3 * width}, true, uniform},            // 6
                  {"out.weight", {width, width}, true, uniform},       // 7
                  {"out.bias", {width}, true, uniform},                // 8
                  {"b.weight", {width}, true, near_one},               // 9
                  {"b.bias", {width}, true, uniform},                  // 10
                  {"up.weight", {hidden, width}, true, uniform},       // 11
                  {"up.bias", {hidden}, true, uniform},                // 12
                  {"down.weight", {width, hidden}, true, uniform},     // 13
                  {"down.bias", {width}, true, uniform},               // 14
                  {"c.weight", {width}, true, near_one},               // 15
                  {"head.weight", {classes, width}, true, uniform}};   // 16
  d.nodes = {{"embedding", {0, 2}, {}},                                // 17
             {"layerNorm", {17, 3, 4}, {}},                            // 18
             {"linear", {18, 5, 6}, {}},                               // 19
             {"attention", {19}, {{"heads", 2.0}, {"causal", true}}},  // 20
             {"linear", {20, 7, 8}, {}},                               // 21
             {"add", {17, 21}, {}},                                    // 22
             {"layerNorm", {22, 9, 10}, {}},                           // 23
             {"linear", {23, 11, 12}, {}},                             // 24
             {"geluTanh", {24}, {}},                                   // 25
             {"linear", {25, 13, 14}, {}},                             // 26
             {"add", {22, 26}, {}},                                    // 27
             {"rmsNorm", {27, 15}, {}},                                // 28
             {"linear", {28, 16}, {}},                                 // 29
             {"countTargets", {1}, {}},                                // 30
             {"crossEntropy", {29, 1, -1, -1, 30}, {}}};               // 31
  d.outputs = {31};
  return d;
}

/// Layers whose widths are no multiples of 8, and activations that keep x, y or nothing.
inline GraphDescription perceptron() {
  GraphDescription d;
  d.inputs = {{"x", {-1, 13}, DType::kFloat32}, {"t", {-1, 5}, DType::kFloat32}};
  const Initializer uniform{InitializerKind::kUniform, -0.4, 0.4};
  d.parameters = {{"a.weight", {24, 13}, true, uniform}, {"a.bias", {24}, true, uniform},
                  {"b.weight", {11, 24}, true, uniform}, {"b.bias", {11}, true, uniform},
                  {"c.weight", {16, 11}, true, uniform}, {"d.weight", {5, 16}, true, uniform}};
  d.nodes = {{"linear", {0, 2, 3}, {}}, {"silu", {8}, {}},       {"linear", {9, 4, 5}, {}},
             {"relu", {10}, {}},        {"linear", {11, 6}, {}}, {"tanh", {12}, {}},
             {"mul", {13, 12}, {}},     {"linear", {14, 7}, {}}, {"mse", {15, 1}, {}}};
  d.outputs = {16};
  return d;
}

}  // namespace tandem
