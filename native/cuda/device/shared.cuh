// Shared memory whose size the launcher gives (Launch::kernel_with_shared).
#pragma once

#include "cuda/device/scalar.cuh"

namespace tandem::cuda {

/// The block's, aligned to 16 bytes.
TANDEM_DEVICE float* dynamic_shared() {
  extern __shared__ float4 tandem_shared[];
  return reinterpret_cast<float*>(tandem_shared);
}

}  // namespace tandem::cuda
