// One GPU: its memory, its handle of cuBLASLt, and what was measured on it. Shared by all plans of
// the process, and never freed: plans and memory may outlive any owner.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <memory>
#include <string>

#include "core/backend.h"
#include "cuda/host/choice_file.h"
#include "cuda/host/lt_library.h"
#include "cuda/host/pinned_ranges.h"
#include "cuda/host/products.h"
#include "cuda/product_runner.h"

namespace tandem::cuda {

struct DeviceOptions {
  int64_t memory_limit = 0;  ///< bytes; 0: all that the device has
  bool tf32 = false;         ///< float32 products may round their operands to 10 bits of mantissa
  std::string choices;       ///< a file that keeps what products were measured to be; empty: none
};

class Device {
 public:
  /// Throws ERR_DEVICE, ERR_OUT_OF_MEMORY.
  Device(int ordinal, LtLibrary lt, const DeviceOptions& options);
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  /// "cuda:0"
  [[nodiscard]] const std::string& name() const { return name_; }
  void use() const;
  /// Throws ERR_OUT_OF_MEMORY with what was asked for and what is free.
  Memory allocate(int64_t bytes);
  /// Pinned memory of the host; null where the system gives none, or for more than should be
  /// pinned.
  std::shared_ptr<std::byte> allocate_staging(int64_t bytes);
  /// What allocate_staging() has given.
  [[nodiscard]] const PinnedRanges& staging() const { return staging_; }
  [[nodiscard]] ProductRunner& products() { return products_; }
  /// What a block may have of shared memory.
  [[nodiscard]] int64_t shared_bytes() const { return shared_bytes_; }
  [[nodiscard]] int multiprocessors() const { return multiprocessors_; }

 private:
  void reserve(int64_t bytes);

  int ordinal_;
  DeviceOptions options_;
  std::string name_;
  LtLibrary lt_;
  lt::Handle handle_;
  ChoiceFile choice_file_;
  ProductChoices choices_;
  int64_t shared_bytes_;
  ByteChoices byte_choices_;
  ProductRunner products_;
  int multiprocessors_ = 0;
  std::atomic<int64_t> used_{0};  ///< bytes
  PinnedRanges staging_;
};

}  // namespace tandem::cuda
