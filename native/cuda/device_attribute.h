// What a device says of itself.
#pragma once

#include <cuda_runtime.h>

namespace tandem::cuda {

/// The device that this thread talks to. Throws ERR_DEVICE, as the next does.
int current_device();
int device_attribute(int device, cudaDeviceAttr which);

}  // namespace tandem::cuda
