// Shared memory whose size the launcher of a kernel gives.
#pragma once

#include <cstdint>

namespace tandem::cuda {

/// Lets blocks of a kernel have `bytes` of shared memory on the current device, which have to be
/// asked for beyond 48 KiB. What was allowed before stays allowed, so that any thread may ask.
/// Throws ERR_DEVICE.
void allow_shared(const void* kernel, int64_t bytes);

}  // namespace tandem::cuda
