// Owners of what the CUDA runtime hands out. Freeing ignores what the runtime says: at the end of
// the process it may be gone already.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cuda/check.h"

namespace tandem::cuda {

template <typename T, auto destroy>
class Owned {
 public:
  Owned() = default;
  explicit Owned(T handle) : handle_(handle) {}
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Owned() {
    if (handle_ != nullptr) static_cast<void>(destroy(handle_));
  }
  [[nodiscard]] T get() const { return handle_; }
  [[nodiscard]] explicit operator bool() const { return handle_ != nullptr; }

 private:
  T handle_ = nullptr;
};

/// Predictions go before training where both wait for the same multiprocessors.
enum class StreamPriority : uint8_t { kNormal, kHigh };

class Stream : public Owned<cudaStream_t, cudaStreamDestroy> {
 public:
  explicit Stream(StreamPriority priority) : Owned(make(priority)) {}

 private:
  static cudaStream_t make(StreamPriority priority) {
    int least = 0;
    int greatest = 0;
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "a question to a device");
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking,
                                       priority == StreamPriority::kHigh ? greatest : least),
          "a stream");
    return stream;
  }
};

class Event : public Owned<cudaEvent_t, cudaEventDestroy> {
 public:
  Event() : Owned(make()) {}

 private:
  static cudaEvent_t make() {
    cudaEvent_t event = nullptr;
    check(cudaEventCreate(&event), "an event");
    return event;
  }
};

using RecordedGraph = Owned<cudaGraph_t, cudaGraphDestroy>;
using GraphExec = Owned<cudaGraphExec_t, cudaGraphExecDestroy>;

/// Memory of the host that the device copies from and to by itself.
class PinnedMemory : public Owned<void*, cudaFreeHost> {
 public:
  PinnedMemory() = default;
  explicit PinnedMemory(int64_t bytes) : Owned(make(bytes)) {}
  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(get()); }

 private:
  static void* make(int64_t bytes) {
    void* data = nullptr;
    check(cudaHostAlloc(&data, static_cast<size_t>(bytes), cudaHostAllocDefault),
          "an allocation of pinned memory");
    return data;
  }
};

}  // namespace tandem::cuda
