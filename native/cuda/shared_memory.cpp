#include "cuda/shared_memory.h"

#include <cuda_runtime.h>

#include <mutex>

#include "cuda/check.h"

namespace tandem::cuda {

void allow_shared(const void* kernel, int64_t bytes) {
  constexpr int64_t kPlainBytes = 48 * 1024;  // what no kernel has to ask for
  if (bytes <= kPlainBytes) return;
  // Whoever looks and then sets must not set back what another thread has set in between: that one
  // would find its launch refused.
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  cudaFuncAttributes attributes{};
  check(cudaFuncGetAttributes(&attributes, kernel), "a question for shared memory");
  if (attributes.maxDynamicSharedSizeBytes >= bytes) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)),
        "more shared memory");
}

}  // namespace tandem::cuda
