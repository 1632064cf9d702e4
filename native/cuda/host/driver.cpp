#include "cuda/host/driver.h"

#include "core/error.h"
#include "cuda/host/dynamic_library.h"

namespace tandem::cuda {
namespace {

// From the driver's interface, which is stable.
using Result = uint32_t;
using Gpu = int;
constexpr Result kSuccess = 0;
constexpr Result kNoDevice = 100;
constexpr int kCapabilityMajor = 75;
constexpr int kCapabilityMinor = 76;

struct Driver {
  Result (*init)(unsigned flags);
  Result (*get_version)(int*);
  Result (*count)(int*);
  Result (*get)(Gpu*, int ordinal);
  Result (*get_name)(char*, int bytes, Gpu);
  Result (*get_attribute)(int*, int attribute, Gpu);
};

Driver load(const DynamicLibrary& library) {
  Driver d{};
  if (!library.load(d.init, "cuInit") || !library.load(d.get_version, "cuDriverGetVersion") ||
      !library.load(d.count, "cuDeviceGetCount") || !library.load(d.get, "cuDeviceGet") ||
      !library.load(d.get_name, "cuDeviceGetName") ||
      !library.load(d.get_attribute, "cuDeviceGetAttribute")) {
    fail(ErrorCode::kDevice,
         "expected NVIDIA's driver in " + library.name() +
             ", received a library without its functions; reinstall the driver");
  }
  return d;
}

void check(Result result, const char* what) {
  if (result == kSuccess) return;
  fail(ErrorCode::kDevice, std::string("expected NVIDIA's driver to ") + what +
                               ", received error " + std::to_string(result) +
                               "; see whether nvidia-smi works");
}

GpuInfo describe(const Driver& driver, int ordinal) {
  Gpu gpu = 0;
  GpuInfo info;
  char name[256] = {};
  check(driver.get(&gpu, ordinal), "name a GPU");
  check(driver.get_name(name, sizeof name - 1, gpu), "name a GPU");
  check(driver.get_attribute(&info.major, kCapabilityMajor, gpu), "describe a GPU");
  check(driver.get_attribute(&info.minor, kCapabilityMinor, gpu), "describe a GPU");
  info.name = name;
  return info;
}

}  // namespace

DriverInfo probe_driver(const std::vector<std::string>& candidates) {
  const DynamicLibrary library(candidates);
  if (!library.is_open()) {
    fail(ErrorCode::kDevice,
         "expected NVIDIA's driver, received none" +
             (library.why().empty() ? std::string() : " that opens (" + library.why() + ")") +
             "; install the driver of an NVIDIA GPU, or use device \"cpu\"");
  }
  const Driver driver = load(library);
  const Result started = driver.init(0);
  if (started == kNoDevice) {
    fail(ErrorCode::kDevice,
         "expected an NVIDIA GPU, received a driver that has none (see CUDA_VISIBLE_DEVICES)");
  }
  check(started, "start");
  DriverInfo info;
  int count = 0;
  check(driver.get_version(&info.version), "say its version");
  check(driver.count(&count), "count GPUs");
  for (int i = 0; i < count; ++i) info.gpus.push_back(describe(driver, i));
  if (info.gpus.empty()) {
    fail(ErrorCode::kDevice,
         "expected an NVIDIA GPU, received a driver that has none (see CUDA_VISIBLE_DEVICES)");
  }
  return info;
}

std::string cuda_version(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace tandem::cuda
