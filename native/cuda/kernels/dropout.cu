// dropout: y = x / (1 - rate) where unit_float(word) >= rate, 0 elsewhere. Element i takes word i %
// 4 of philox(key = state.seed, counter_low = i / 4, counter_high = state.step ^ (seed << 32)),
// seed being the op's: the CPU's masks, in the forward and in the backward pass. A thread has four
// elements, which are the words of one counter.
#include "core/ops/dropout.h"

#include "core/random.h"
#include "cuda/device/map.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

struct Mask {
  uint64_t seed;
  uint32_t threshold;  // an element stays when the upper 24 bits of its word are not below
  float scale;
};

__global__ void __launch_bounds__(kMapThreads)
    dropout_kernel(Mask mask, const StepState* state, const float* x, Result y, int64_t n) {
  const int64_t i = map_index();
  if (i >= n) return;
  const Philox random =
      philox(state->seed, static_cast<uint64_t>(i) / 4, state->step ^ (mask.seed << 32));
  const auto kept = [&](int k, float value) {
    return (random.word[k] >> 8) < mask.threshold ? 0.0F : value * mask.scale;
  };
  if (i + 4 <= n) {
    const float4 v = *reinterpret_cast<const float4*>(x + i);
    store4(y, i, make_float4(kept(0, v.x), kept(1, v.y), kept(2, v.z), kept(3, v.w)));
  } else {
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      if (i + k < n) store(y, i + k, kept(k, x[i + k]));
    }
  }
}

}  // namespace

void launch_dropout(Launch& launch) {
  const auto& attributes = launch.attributes<ops::Dropout::Attributes>();
  const int64_t n = launch.output().numel;
  // unit_float(word) is the integer word >> 8 by 2^-24, and so exactly comparable with rate by 2^24
  const double threshold = __builtin_ceil(static_cast<double>(attributes.rate) * 0x1p24);
  const Mask mask{static_cast<uint64_t>(attributes.seed), static_cast<uint32_t>(threshold),
                  1.0F / (1.0F - attributes.rate)};
  launch.kernel(dropout_kernel, ceil_div(n, kMapBlock), kMapThreads, mask, launch.state(),
                launch.in(0), launch.result(), n);
}

}  // namespace tandem::cuda
