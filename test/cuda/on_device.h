// Arrays in the memory of a GPU, for tests of single kernels.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "cuda/check.h"
#include "cuda/device.h"
#include "cuda/host/library_candidates.h"

namespace tandem::cuda {

inline Device& device() {
  static Device first(0, open_lt(lt_candidates(python_paths())), {});
  return first;
}

template <typename T>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& host)
      : memory_(device().allocate(static_cast<int64_t>(host.size() * sizeof(T)))) {
    check(cudaMemcpy(memory_.data.get(), host.data(), host.size() * sizeof(T), cudaMemcpyDefault),
          "a copy");
  }
  [[nodiscard]] T* data() const { return reinterpret_cast<T*>(memory_.data.get()); }
  [[nodiscard]] std::vector<T> read() const {
    std::vector<T> host(static_cast<size_t>(memory_.bytes) / sizeof(T));
    check(cudaMemcpy(host.data(), data(), host.size() * sizeof(T), cudaMemcpyDefault), "a copy");
    return host;
  }

 private:
  Memory memory_;
};

}  // namespace tandem::cuda
