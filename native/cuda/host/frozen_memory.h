// Device memory that is made once of weights that never change, and shared by all plans of a
// Predictor. Knows no CUDA: whoever owns it gives a function that allocates.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>

#include "core/backend.h"

namespace tandem::cuda {

/// A parameter's number, and which of the forms that are made of it.
struct FrozenKey {
  int32_t parameter, index;
  // NOLINTNEXTLINE(modernize-use-nullptr): the check takes the comparison's own zero for a pointer
  auto operator<=>(const FrozenKey&) const = default;
};

class FrozenMemory final : public FrozenWeights {
 public:
  using Allocate = std::function<Memory(int64_t)>;
  using Fill = std::function<void(std::byte*)>;

  explicit FrozenMemory(Allocate allocate) : allocate_(std::move(allocate)) {}

  /// Bytes of everything that was made.
  [[nodiscard]] int64_t bytes() const noexcept override { return bytes_; }
  /// What was made, after `fill` has been called with it if it is new. Any thread may call; nothing
  /// is kept where allocating or filling throws.
  std::byte* find_or_make(const FrozenKey& key, int64_t bytes, const Fill& fill);
  /// Throws ERR_ARGUMENT where nothing was made.
  [[nodiscard]] std::byte* find(const FrozenKey& key) const;

 private:
  Allocate allocate_;
  mutable std::mutex mutex_;  ///< held while memory is filled
  std::map<FrozenKey, Memory> made_;
  std::atomic<int64_t> bytes_{0};  ///< of made_
};

}  // namespace tandem::cuda
