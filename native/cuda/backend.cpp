// The backend behind core/backend.h, and the library's one export.
#include <array>
#include <climits>
#include <cstdlib>
#include <memory>
#include <mutex>

#include "core/device_library.h"
#include "cuda/check.h"
#include "cuda/executable.h"
#include "cuda/host/library_candidates.h"
#include "cuda/host/rounded_results.h"
#include "cuda/host/shared_needed.h"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(std::unique_ptr<Device> device) : device_(std::move(device)) {}

  [[nodiscard]] const char* name() const override { return device_->name().c_str(); }
  [[nodiscard]] bool supports(Op op) const override {
    return launcher(op) != nullptr && shared_needed(op) <= device_->shared_bytes();
  }
  [[nodiscard]] bool shares_host_memory() const override { return false; }
  [[nodiscard]] bool updates_on_the_way() const override { return false; }
  [[nodiscard]] int64_t factor_row() const override { return kFactorRow; }
  [[nodiscard]] bool rounds_result(const Graph& graph, const Node& node,
                                   const RoundedResult& how) const override {
    return cuda::rounds_result(graph, node, how);
  }
  [[nodiscard]] bool reads_rounded(const Graph& graph, const Node& node) const override {
    return cuda::reads_rounded(graph, node);
  }
  [[nodiscard]] bool reads_padded(const Graph& /*graph*/, const Node& node) const override {
    return cuda::reads_padded(node.op);
  }

  void copy(std::byte* to, const std::byte* from, int64_t bytes, CopyKind kind) const override {
    if (bytes == 0) return;
    device_->use();
    const cudaMemcpyKind way = kind == CopyKind::kToDevice ? cudaMemcpyHostToDevice
                               : kind == CopyKind::kToHost ? cudaMemcpyDeviceToHost
                                                           : cudaMemcpyDeviceToDevice;
    check(cudaMemcpy(to, from, static_cast<size_t>(bytes), way), "a copy");
    // copies to and within the device may return before they have happened
    if (way != cudaMemcpyDeviceToHost) check(cudaStreamSynchronize(nullptr), "a copy");
  }
  [[nodiscard]] Memory allocate(int64_t bytes) const override { return device_->allocate(bytes); }

  [[nodiscard]] std::shared_ptr<std::byte> allocate_staging(int64_t bytes) const override {
    return device_->allocate_staging(bytes);
  }

  [[nodiscard]] int64_t workspace_bytes(const Graph& graph, const Node& node,
                                        bool frozen) const override {
    const NodeView view = view_of(graph, node);
    Launch launch(view, device_->products(), frozen);
    launcher(node.op)(launch);
    return launch.workspace_bytes();
  }
  [[nodiscard]] std::unique_ptr<FrozenWeights> make_frozen_weights() const override {
    return std::make_unique<FrozenMemory>(
        [device = device_.get()](int64_t bytes) { return device->allocate(bytes); });
  }
  [[nodiscard]] std::unique_ptr<Executable> compile(const CompileRequest& request) const override {
    device_->use();
    return std::make_unique<CudaExecutable>(*device_, request);
  }

 private:
  std::unique_ptr<Device> device_;
};

std::string text_of(const char* variable) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing of ours changes the environment
  const char* const value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

int64_t number_of(const char* variable) {
  return std::strtoll(text_of(variable).c_str(), nullptr, 10);
}

/// TANDEM_CUDA_MEMORY_LIMIT (bytes), TANDEM_CUDA_TF32 (1) and TANDEM_CUDA_CHOICES (a file).
DeviceOptions options() {
  return {number_of("TANDEM_CUDA_MEMORY_LIMIT"), number_of("TANDEM_CUDA_TF32") != 0,
          text_of("TANDEM_CUDA_CHOICES")};
}

const Backend& open(int ordinal) {
  constexpr size_t kMaxDevices = 64;
  static std::mutex mutex;
  // never freed: memory of the device may be given back when static objects are gone
  static auto* const backends = new std::array<std::unique_ptr<CudaBackend>, kMaxDevices>();
  const std::lock_guard lock(mutex);
  int count = 0;
  check(cudaGetDeviceCount(&count), "a question for devices");
  if (ordinal < 0 || ordinal >= count || ordinal >= static_cast<int>(kMaxDevices)) {
    fail(ErrorCode::kDevice, "expected a device below cuda:" + std::to_string(count) +
                                 ", received cuda:" + std::to_string(ordinal));
  }
  std::unique_ptr<CudaBackend>& backend = (*backends)[static_cast<size_t>(ordinal)];
  if (backend == nullptr) {
    backend = std::make_unique<CudaBackend>(
        std::make_unique<Device>(ordinal, open_lt(lt_candidates(python_paths())), options()));
  }
  return *backend;
}

}  // namespace
}  // namespace tandem::cuda

extern "C" {
#if defined(_WIN32)
__declspec(dllexport)
#else
__attribute__((visibility("default")))
#endif
const tandem::DeviceLibrary* tandem_device_library() {
  // CUDA's minor versions are compatible, so a driver of the same major version will do
  static constexpr tandem::DeviceLibrary library{tandem::device_abi(), CUDART_VERSION / 1000 * 1000,
                                                 &tandem::cuda::open};
  return &library;
}
}
