// How the CUDA backend is found, with stand-ins for the libraries of NVIDIA and for the backend
// (test/native/fakes), and what is said when one is missing or does not fit.
#include "cuda/host/loader.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "check.h"
#include "cuda/host/lt_library.h"
#include "cuda/host/nccl_library.h"

using namespace tandem;
using cuda::Loader;

namespace {

std::string fake(const char* name) { return std::string(TANDEM_FAKES) + "/lib" + name + ".so"; }

struct Failure {
  ErrorCode code = ErrorCode::kArgument;
  std::string message;
};

/// What Loader::backend throws.
Failure failure(Loader& loader, int ordinal = 0) {
  try {
    static_cast<void>(loader.backend(ordinal));
  } catch (const Error& error) {
    return {error.code(), error.message()};
  }
  return {};
}

Failure failure(const char* driver, const char* library, int ordinal = 0) {
  Loader loader({{fake(driver)}, {fake(library)}});
  return failure(loader, ordinal);
}

bool says(const Failure& failure, const char* words) {
  return failure.code == ErrorCode::kDevice && failure.message.find(words) != std::string::npos;
}

}  // namespace

TEST(cuda_loader_without_a_driver) {
  const Failure error = failure("no_such_driver", "fake_backend");
  CHECK(says(error, "NVIDIA's driver, received none"));
  CHECK(says(error, "install the driver"));
}

TEST(cuda_loader_with_something_else_for_a_driver) {
  CHECK(says(failure("fake_empty", "fake_backend"), "without its functions"));
}

TEST(cuda_loader_without_a_gpu) {
  CHECK(says(failure("fake_driver_no_gpu", "fake_backend"), "an NVIDIA GPU"));
}

TEST(cuda_loader_with_an_old_driver) {
  const Failure error = failure("fake_driver_old", "fake_backend");
  CHECK(says(error, "CUDA 13.0 or newer, received one for CUDA 12.4"));
  CHECK(says(error, "update NVIDIA's driver"));
}

TEST(cuda_loader_with_an_old_gpu) {
  CHECK(says(failure("fake_driver_old_gpu", "fake_backend"), "7.5 or newer, received Fake GPU"));
}

TEST(cuda_loader_without_the_backend) {
  const Failure error = failure("fake_driver", "no_such_backend");
  CHECK(says(error, "npm run build:cuda"));
  CHECK(says(error, "libno_such_backend.so, received none;"));
}

#if defined(__linux__)
TEST(cuda_loader_with_a_backend_that_needs_what_is_not_there) {
  const Failure error = failure("fake_driver", "fake_incomplete");
  CHECK(says(error, "received none that opens (libfake_needed.so: "));
}
#endif

TEST(cuda_loader_with_another_backend) {
  CHECK(says(failure("fake_driver", "fake_backend_other"), "of the addon's own version"));
  CHECK(says(failure("fake_driver", "fake_empty"), "of the addon's own version"));
}

TEST(cuda_loader_with_a_device_that_is_not_there) {
  CHECK(says(failure("fake_driver", "fake_backend", 2), "below cuda:2, received cuda:2"));
}

TEST(cuda_loader_passes_errors_of_the_backend_on) {
  CHECK(says(failure("fake_driver", "fake_backend", 1), "expected cuBLASLt, received none"));
  const Failure memory = failure("fake_driver", "fake_backend", 0);
  CHECK(memory.code == ErrorCode::kOutOfMemory);
  CHECK(memory.message.find("512 of 2048 free") != std::string::npos);
}

TEST(cuda_loader_remembers_what_it_found) {
  Loader loader({{fake("no_such_driver")}, {fake("fake_backend")}});
  const Failure first = failure(loader);
  CHECK(failure(loader).message == first.message);
  CHECK_THROWS(loader.gpus());
  Loader other({{fake("no_such_driver"), fake("fake_driver")}, {fake("fake_backend")}});
  CHECK(other.gpus().size() == 2 && other.gpus()[1].name == "Fake GPU");
  CHECK(failure(other).code == ErrorCode::kOutOfMemory);
}

namespace {

/// `CUDA_PATH` as told, for as long as it lives. Tests run one after another:
// NOLINTBEGIN(concurrency-mt-unsafe)
class ToolkitFolder {
 public:
  explicit ToolkitFolder(const char* folder) {
    const char* const before = std::getenv("CUDA_PATH");
    if (before != nullptr) before_ = before;
    set(folder);
  }
  ~ToolkitFolder() { set(before_.empty() ? nullptr : before_.c_str()); }
  ToolkitFolder(const ToolkitFolder&) = delete;
  ToolkitFolder& operator=(const ToolkitFolder&) = delete;

 private:
  static void set(const char* folder) {
    if (folder == nullptr) {
      unsetenv("CUDA_PATH");
    } else {
      setenv("CUDA_PATH", folder, 1);
    }
  }
  std::string before_;
};
// NOLINTEND(concurrency-mt-unsafe)

}  // namespace

TEST(cuda_libraries_are_looked_for_where_they_may_be) {
  using Places = std::vector<std::string>;
  const ToolkitFolder toolkit("/opt/cuda");
  CHECK(cuda::lt_candidates({"/venv"}) ==
        (Places{
            "libcublasLt.so.13", "libcublasLt.so.12", "/opt/cuda/lib64/libcublasLt.so.13",
            "/opt/cuda/lib64/libcublasLt.so.12", "/opt/cuda/lib/libcublasLt.so.13",
            "/opt/cuda/lib/libcublasLt.so.12", "/usr/local/cuda/lib64/libcublasLt.so.13",
            "/usr/local/cuda/lib64/libcublasLt.so.12", "/venv/nvidia/cu13/lib/libcublasLt.so.13",
            "/venv/nvidia/cu13/lib/libcublasLt.so.12", "/venv/nvidia/cublas/lib/libcublasLt.so.13",
            "/venv/nvidia/cublas/lib/libcublasLt.so.12"}));
  CHECK(cuda::nccl_candidates({"/venv", "/usr/lib/python3"}) ==
        (Places{"libnccl.so.2", "/opt/cuda/lib64/libnccl.so.2", "/opt/cuda/lib/libnccl.so.2",
                "/usr/local/cuda/lib64/libnccl.so.2", "/venv/nvidia/nccl/lib/libnccl.so.2",
                "/usr/lib/python3/nvidia/nccl/lib/libnccl.so.2"}));
}

TEST(cuda_libraries_are_looked_for_without_a_toolkit) {
  const ToolkitFolder toolkit(nullptr);
  CHECK(cuda::nccl_candidates({}) ==
        (std::vector<std::string>{"libnccl.so.2", "/usr/local/cuda/lib64/libnccl.so.2"}));
}

TEST(cuda_nccl_opens_below_a_toolkit) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / ("tandem-nccl-" + std::to_string(getpid()));
  fs::create_directories(folder / "lib64");
  fs::create_symlink(fake("fake_nccl"), folder / "lib64" / "libnccl.so.2");
  {
    const ToolkitFolder toolkit(folder.c_str());
    std::vector<std::string> places = cuda::nccl_candidates({});
    places.erase(places.begin());  // the loader's own path, where there may be one
    const cuda::NcclLibrary opened = cuda::open_nccl(places);
    CHECK(opened.name == folder / "lib64" / "libnccl.so.2");
  }
  fs::remove_all(folder);
}

TEST(cuda_lt_that_is_missing_or_something_else) {
  std::string message;
  try {
    (void)cuda::open_lt({fake("no_such_cublas")});
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kDevice);
    message = error.message();
  }
  CHECK(message.find("pip install nvidia-cublas") != std::string::npos);
  try {
    (void)cuda::open_lt({fake("fake_empty")});
  } catch (const Error& error) {
    message = error.message();
  }
  CHECK(message.find("cublasLtCreate") != std::string::npos);
}
