#include "cuda/device.h"

#include <algorithm>

#include "core/device_library.h"
#include "cuda/check.h"
#include "cuda/device_attribute.h"
#include "cuda/float_product.h"
#include "cuda/measure.h"

namespace tandem::cuda {
namespace {

lt::Handle make_handle(const LtLibrary& lt, int ordinal) {
  // the library takes the context that is current
  use_device(ordinal);
  check(cudaFree(nullptr), "the start of a device");
  lt::Handle handle = nullptr;
  const lt::Status status = lt.functions.Create(&handle);
  if (status != lt::kSuccess) {
    fail(ErrorCode::kDevice, "expected a handle of " + lt.name + " (version " +
                                 std::to_string(lt.version) + "), received status " +
                                 std::to_string(status));
  }
  return handle;
}

/// What a block may ask for.
int64_t most_shared_bytes(int ordinal) {
  int bytes = 0;
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, ordinal),
        "a question to a device");
  return bytes;
}

/// All that the fastest way to compute a product depends on beside the product: the library, the
/// GPU, the driver and our own kernels.
std::string machine_of(const LtLibrary& lt, int ordinal) {
  cudaDeviceProp gpu{};
  check(cudaGetDeviceProperties(&gpu, ordinal), "a question to a device");
  int driver = 0;
  check(cudaDriverGetVersion(&driver), "a question to the driver");
  return std::to_string(device_abi()) + " cublasLt " + std::to_string(lt.version) + " driver " +
         std::to_string(driver) + " " + gpu.name + " " + std::to_string(gpu.major) + "." +
         std::to_string(gpu.minor) + " " + std::to_string(gpu.multiProcessorCount);
}

}  // namespace

Device::Device(int ordinal, LtLibrary lt, const DeviceOptions& options)
    : ordinal_(ordinal),
      options_(options),
      name_("cuda:" + std::to_string(ordinal)),
      lt_(std::move(lt)),
      handle_(make_handle(lt_, ordinal)),
      choice_file_(options.choices.empty() ? ChoiceFile()
                                           : ChoiceFile(options.choices, machine_of(lt_, ordinal))),
      choices_(
          lt_.functions, handle_,
          [this](ProductDescription& description, const Product& product,
                 const lt::HeuristicResult& candidate) {
            use();
            return measure_product(handle_, description, product, candidate);
          },
          float_device(ordinal),
          [this](const Product& product, FloatWay way) {
            use();
            return measure_floats(product, way);
          },
          &choice_file_),
      shared_bytes_(most_shared_bytes(ordinal)),
      byte_choices_({shared_bytes_, has_warpgroups(ordinal)},
                    [this](const ByteShape& shape, ByteWay way) {
                      use();
                      return measure_bytes(products_, shape, way);
                    }),
      products_(lt_.functions, handle_, choices_, byte_choices_,
                options.tf32 ? ProductType::kTf32 : ProductType::kFloat32) {
  check(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, ordinal),
        "a question to a device");
}

void Device::use() const { use_device(ordinal_); }

void Device::reserve(int64_t bytes) {
  const int64_t before = used_.fetch_add(bytes);
  if (options_.memory_limit <= 0 || bytes <= options_.memory_limit - before) return;
  used_ -= bytes;
  fail(ErrorCode::kOutOfMemory,
       "expected " + std::to_string(bytes) + " bytes of memory on " + name_ + ", which has " +
           std::to_string(options_.memory_limit - before) + " of a limit of " +
           std::to_string(options_.memory_limit) + " free");
}

Memory Device::allocate(int64_t bytes) {
  if (bytes == 0) return {};
  use();
  reserve(bytes);
  void* data = nullptr;
  cudaError_t status = cudaMalloc(&data, static_cast<size_t>(bytes));
  if (status == cudaSuccess) {
    status = cudaMemset(data, 0, static_cast<size_t>(bytes));
    // it returns before it has happened, and streams that do not block would not wait for it
    if (status == cudaSuccess) status = cudaStreamSynchronize(nullptr);
    if (status != cudaSuccess) static_cast<void>(cudaFree(data));
  }
  if (status != cudaSuccess) used_ -= bytes;
  if (status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    size_t free = 0;
    size_t total = 0;
    static_cast<void>(cudaMemGetInfo(&free, &total));
    fail(ErrorCode::kOutOfMemory, "expected " + std::to_string(bytes) + " bytes of memory on " +
                                      name_ + ", which has " + std::to_string(free) + " of " +
                                      std::to_string(total) + " free");
  }
  check(status, "an allocation");
  const auto release = [this, bytes](std::byte* memory) {
    // at the end of the process the runtime may be gone already, and its memory with it
    static_cast<void>(cudaSetDevice(ordinal_));
    static_cast<void>(cudaFree(memory));
    used_ -= bytes;
  };
  return {std::shared_ptr<std::byte>(static_cast<std::byte*>(data), release), bytes};
}

std::shared_ptr<std::byte> Device::allocate_staging(int64_t bytes) {
  constexpr int64_t kMost = int64_t{64} << 20;
  if (bytes == 0 || bytes > kMost) return nullptr;
  use();
  void* data = nullptr;
  if (cudaHostAlloc(&data, static_cast<size_t>(bytes), cudaHostAllocPortable) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());  // memory of another kind will do
    return nullptr;
  }
  const auto release = [this](std::byte* memory) {
    staging_.remove(memory);
    // waits for copies out of it
    static_cast<void>(cudaFreeHost(memory));
  };
  std::shared_ptr<std::byte> block(static_cast<std::byte*>(data), release);
  staging_.add(block.get(), bytes);
  return block;
}

}  // namespace tandem::cuda
