// NVIDIA's driver as far as it has to be asked whether a GPU is there: opened at run time.
#pragma once

#include <string>
#include <vector>

namespace tandem::cuda {

struct GpuInfo {
  std::string name;          ///< as NVIDIA sells it
  int major = 0, minor = 0;  ///< compute capability
};

struct DriverInfo {
  int version = 0;  ///< of CUDA, 13000 for 13.0
  std::vector<GpuInfo> gpus;
};

/// Asks the first of `candidates` that opens. Throws ERR_DEVICE with what is missing and the fix.
DriverInfo probe_driver(const std::vector<std::string>& candidates);

/// "13.0" for 13000.
std::string cuda_version(int version);

}  // namespace tandem::cuda
