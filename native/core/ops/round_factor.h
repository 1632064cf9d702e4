// roundFactor(x): x rounded to nearest even as numbers of 16 bits, which products multiply: see
// core/rounded_factors.h. Zeros follow each row where `padding` says so. A NaN stays one; of
// float16, numbers beyond 65504 become infinities.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct RoundFactor : Base {
  static constexpr uint32_t kFlags = kInternal;
  struct Attributes {
    DType dtype = DType::kBFloat16;
    uint8_t padding = 0;
  };

  static void infer(InferContext& context) {
    const auto& attributes = context.attributes<Attributes>();
    if (context.input(0).rank == 0) context.bad_shape("rows of numbers");
    context.output(context.shape(0), attributes.dtype, attributes.padding);
  }
};

}  // namespace tandem::ops
