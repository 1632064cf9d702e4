// Quantized inference: products of bytes, summed exactly in int32, in place of products of floats.
// A value x is kept as the byte q = round(x / scale) + zero, saturated, and a weight as a signed
// byte with a scale for each output channel: Jacob et al., "Quantization and Training of Neural
// Networks for Efficient Integer-Arithmetic-Only Inference" (2018).
#pragma once

#include <cstdint>
#include <vector>

#include "core/graph.h"

namespace tandem {

enum class QuantizationMode : uint8_t {
  kStatic,   ///< the input as bytes by a scale and a zero point that calibration gave
  kDynamic,  ///< the same, by those of the range of each row
  kWeights,  ///< weights alone are bytes; the product is one of floats
};

/// How one node of a description is computed.
struct Quantization {
  QuantizationMode mode = QuantizationMode::kStatic;
  float scale = 1.0F;  ///< of the input, greater than 0
  int32_t zero = 0;    ///< the byte that stands for 0, in [0, 255]
  /// Of the weight: one for each of its outermost axis, greater than 0; none where there is none.
  std::vector<float> weight_scales;
  /// Of the node, by which its packed weight is found: the same in every graph of a Predictor.
  int32_t index = 0;
  bool weight_is_bytes = false;  ///< ParameterDescription::is_bytes of the weight
};

/// Computes the nodes that have a `quantization` with bytes; the last pass before a graph is
/// planned. Between two of them values stay bytes where every reader wants the same ones: through
/// activations, reshapes and maxima of windows, too. Images between convolutions lie channels last.
/// With `sums_of_bytes` the device has addBytes and averagePoolBytes, which read bytes in any
/// steps, so that bytes reach residual additions and means, too. Throws ERR_ARGUMENT for nodes that
/// cannot be quantized, and for weights that do not fit.
void quantize(Graph& graph, bool sums_of_bytes);

}  // namespace tandem
