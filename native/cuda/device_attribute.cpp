#include "cuda/device_attribute.h"

#include "cuda/check.h"

namespace tandem::cuda {

int current_device() {
  int device = 0;
  check(cudaGetDevice(&device), "a question for the device");
  return device;
}

int device_attribute(int device, cudaDeviceAttr which) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, device), "a question to a device");
  return value;
}

bool has_warpgroups(int device) {
#if defined(TANDEM_CUDA_HAS_90A)
  return device_attribute(device, cudaDevAttrComputeCapabilityMajor) == 9 &&
         device_attribute(device, cudaDevAttrComputeCapabilityMinor) == 0;
#else
  static_cast<void>(device);
  return false;
#endif
}

}  // namespace tandem::cuda
