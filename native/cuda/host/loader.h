// From the name of a device to its backend: the driver, then the backend's library, then the
// device, each with a reason when it fails. Everything is asked once and remembered, failures too.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/device_library.h"
#include "core/error.h"
#include "cuda/host/driver.h"

namespace tandem::cuda {

/// Names for the loader, or paths, best first.
struct LoaderPaths {
  std::vector<std::string> driver;
  std::vector<std::string> library;
};

/// The driver where systems have it, and the library where TANDEM_CUDA_LIBRARY says, or else beside
/// the file that this code is in or where `npm run build:cuda` puts it.
LoaderPaths default_paths();

class Loader {
 public:
  explicit Loader(LoaderPaths paths) : paths_(std::move(paths)) {}

  /// Throws ERR_DEVICE with the reason and the fix, ERR_OUT_OF_MEMORY.
  const Backend& backend(int ordinal);
  /// The GPUs that the driver has. Throws ERR_DEVICE.
  std::vector<GpuInfo> gpus();

  /// The process's own, with the default paths.
  static Loader& instance();

 private:
  /// A value, or the error that finding it ended with.
  template <typename T>
  struct Found {
    std::optional<T> value;
    std::optional<Error> error;
    template <typename Find>
    const T& get(const Find& find);
  };
  const DriverInfo& driver();
  const DeviceLibrary& library();
  const Backend& open(int ordinal);

  LoaderPaths paths_;
  std::mutex mutex_;
  Found<DriverInfo> driver_;
  Found<const DeviceLibrary*> library_;
  std::map<int, Found<const Backend*>> backends_;
};

}  // namespace tandem::cuda
