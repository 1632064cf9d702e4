// What the CUDA runtime reports, as the errors of this library.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace tandem::cuda {

/// Throws ERR_OUT_OF_MEMORY or ERR_DEVICE with the runtime's own words unless `status` is success;
/// `what` names the thing that was attempted.
void check(cudaError_t status, const char* what);

/// Throws ERR_SHAPE where a grid would have more blocks than CUDA allows.
unsigned checked_blocks(int64_t blocks);

/// Makes `device` the one that this thread talks to.
void use_device(int device);

}  // namespace tandem::cuda
