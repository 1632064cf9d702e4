#include "cuda/host/loader.h"

#include <cstdlib>

#include "cuda/host/dynamic_library.h"

#ifndef _WIN32
#include <dlfcn.h>
#endif

namespace tandem::cuda {
namespace {

#ifdef _WIN32
constexpr const char* kDriver = "nvcuda.dll";
constexpr const char* kLibrary = "tandem_cuda.dll";
#else
constexpr const char* kDriver = "libcuda.so.1";
constexpr const char* kLibrary = "libtandem_cuda.so";
#endif

// What the kernels are compiled for at least.
constexpr int kLeastMajor = 7;
constexpr int kLeastMinor = 5;

/// The folder of the file that this code was loaded from, with a slash at its end.
std::string own_folder() {
#ifndef _WIN32
  Dl_info self{};
  if (dladdr(reinterpret_cast<const void*>(&own_folder), &self) != 0 && self.dli_fname != nullptr) {
    const std::string file = self.dli_fname;
    const size_t slash = file.rfind('/');
    if (slash != std::string::npos) return file.substr(0, slash + 1);
  }
#endif
  return "";
}

std::string listed(const std::vector<std::string>& paths) {
  std::string list;
  for (const std::string& path : paths) list += (list.empty() ? "" : ", ") + path;
  return list;
}

}  // namespace

LoaderPaths default_paths() {
  LoaderPaths paths{{kDriver}, {}};
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing of ours changes the environment
  const char* const given = std::getenv("TANDEM_CUDA_LIBRARY");
  if (given != nullptr && *given != '\0') {
    paths.library = {given};
  } else {
    // the second is where it is built when the addon is a prebuild
    const std::string folder = own_folder();
    paths.library = {folder + kLibrary, folder + "../../build/Release/" + kLibrary};
  }
  return paths;
}

Loader& Loader::instance() {
  // never freed: threads that end late may still ask
  static auto* const loader = new Loader(default_paths());
  return *loader;
}

template <typename T>
template <typename Find>
const T& Loader::Found<T>::get(const Find& find) {
  if (error) throw Error(*error);
  if (!value) {
    try {
      value.emplace(find());
    } catch (const Error& failed) {
      error = failed;
      throw;
    }
  }
  return *value;
}

const DriverInfo& Loader::driver() {
  return driver_.get([this] { return probe_driver(paths_.driver); });
}

const DeviceLibrary& Loader::library() {
  return *library_.get([this] {
    const DynamicLibrary file(paths_.library);
    if (!file.is_open()) {
      fail(ErrorCode::kDevice, "expected the CUDA backend at " + listed(paths_.library) +
                                   ", received none" +
                                   (file.why().empty() ? "" : " that opens (" + file.why() + ")") +
                                   "; `npm run build:cuda` builds it with nvcc");
    }
    DeviceLibraryFn entry = nullptr;
    const DeviceLibrary* table = nullptr;
    if (file.load(entry, kDeviceLibraryEntry)) table = entry();
    if (table == nullptr || table->abi != device_abi()) {
      fail(ErrorCode::kDevice, "expected a CUDA backend of the addon's own version, received " +
                                   file.name() +
                                   " of another; `npm run build:cuda` builds it anew");
    }
    return table;
  });
}

const Backend& Loader::open(int ordinal) {
  const DriverInfo& info = driver();
  const DeviceLibrary& table = library();
  if (info.version < table.driver_version) {
    fail(ErrorCode::kDevice, "expected a driver for CUDA " + cuda_version(table.driver_version) +
                                 " or newer, received one for CUDA " + cuda_version(info.version) +
                                 "; update NVIDIA's driver");
  }
  if (ordinal >= static_cast<int>(info.gpus.size())) {
    fail(ErrorCode::kDevice, "expected a device below cuda:" + std::to_string(info.gpus.size()) +
                                 ", received cuda:" + std::to_string(ordinal));
  }
  const GpuInfo& gpu = info.gpus[static_cast<size_t>(ordinal)];
  if (gpu.major < kLeastMajor || (gpu.major == kLeastMajor && gpu.minor < kLeastMinor)) {
    fail(ErrorCode::kDevice, "expected a GPU of compute capability 7.5 or newer, received " +
                                 gpu.name + " of " + std::to_string(gpu.major) + "." +
                                 std::to_string(gpu.minor));
  }
  return table.open(ordinal);
}

const Backend& Loader::backend(int ordinal) {
  const std::lock_guard lock(mutex_);
  Found<const Backend*>& found = backends_[ordinal];
  try {
    return *found.get([&] { return &open(ordinal); });
  } catch (const Error& error) {
    // memory may be free next time
    if (error.code() == ErrorCode::kOutOfMemory) backends_.erase(ordinal);
    throw;
  }
}

std::vector<GpuInfo> Loader::gpus() {
  const std::lock_guard lock(mutex_);
  return driver().gpus;
}

}  // namespace tandem::cuda
