// What a device says of itself.
#pragma once

#include <cuda_runtime.h>

namespace tandem::cuda {

/// The device that this thread talks to. Throws ERR_DEVICE, as the next does.
int current_device();
int device_attribute(int device, cudaDeviceAttr which);
/// Whether a device multiplies by groups of warps: only compute capability 9.0 does, and only code
/// that was compiled for its own features.
bool has_warpgroups(int device);

}  // namespace tandem::cuda
