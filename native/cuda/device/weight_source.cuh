// A frozen weight as it lies in the parameters: floats, or the bytes of a model of 8-bit integers.
#pragma once

#include "cuda/device/bytes.cuh"
#include "cuda/launch.h"

namespace tandem::cuda {

struct WeightSource {
  const float* floats;  ///< null where they are bytes
  const int8_t* bytes;

  TANDEM_DEVICE int8_t byte(int64_t i, float scale) const {
    return bytes != nullptr ? bytes[i] : to_weight_byte(floats[i], scale);
  }
};

/// Input `input` of the node.
inline WeightSource weight_source(const Launch& launch, int input) {
  if (launch.input(input).dtype == DType::kUInt8) return {nullptr, launch.in<int8_t>(input)};
  return {launch.in(input), nullptr};
}

}  // namespace tandem::cuda
