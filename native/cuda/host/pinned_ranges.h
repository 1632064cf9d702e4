// Where memory of the host lies that a device copies from by itself. Knows no CUDA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

namespace tandem::cuda {

/// Any thread may ask and change it.
class PinnedRanges {
 public:
  void add(const std::byte* begin, int64_t bytes) {
    const std::lock_guard lock(mutex_);
    ranges_[begin] = bytes;
  }
  void remove(const std::byte* begin) noexcept {
    const std::lock_guard lock(mutex_);
    ranges_.erase(begin);
  }
  /// Whether all of `bytes` from `begin` on lie within one range.
  [[nodiscard]] bool hold(const void* begin, int64_t bytes) const {
    const auto* const first = static_cast<const std::byte*>(begin);
    const std::lock_guard lock(mutex_);
    auto range = ranges_.upper_bound(first);
    if (range == ranges_.begin()) return false;
    --range;
    return first - range->first + bytes <= range->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<const std::byte*, int64_t> ranges_;
};

}  // namespace tandem::cuda
