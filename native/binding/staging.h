// Memory that a job copies its inputs to, so that no transfer of an ArrayBuffer can reach what a
// lane reads. Blocks are used again by later jobs: touching fresh pages would cost more than the
// copy.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "core/backend.h"

namespace tandem::binding {

/// A block of cache-line aligned memory, uninitialised.
class Staging {
 public:
  Staging() = default;
  /// Of memory that `device` best reads inputs from.
  explicit Staging(const Backend& device) : device_(&device) {}
  Staging(Staging&& other) noexcept
      : device_(other.device_),
        block_(std::move(other.block_)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  Staging& operator=(Staging&& other) noexcept {
    device_ = other.device_;
    block_ = std::move(other.block_);
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
  }
  /// At least `bytes`; throws std::bad_alloc. What was there is lost.
  void resize(size_t bytes) {
    if (bytes <= bytes_) return;
    block_.reset();
    bytes_ = 0;
    if (device_ != nullptr) block_ = device_->allocate_staging(static_cast<int64_t>(bytes));
    if (block_ == nullptr)
      block_.reset(static_cast<std::byte*>(::operator new(bytes, kAlign)), Free());
    bytes_ = bytes;
  }
  [[nodiscard]] std::byte* data() const { return block_.get(); }
  [[nodiscard]] size_t bytes() const { return bytes_; }

 private:
  static constexpr std::align_val_t kAlign{static_cast<size_t>(kAlignment)};
  struct Free {
    void operator()(std::byte* block) const { ::operator delete(block, kAlign); }
  };
  const Backend* device_ = nullptr;
  std::shared_ptr<std::byte> block_;
  size_t bytes_ = 0;
};

/// Blocks between two jobs: two of any size, and small ones for as many calls as come at a time. Of
/// the JavaScript thread.
class StagingPool {
 public:
  StagingPool() = default;
  explicit StagingPool(const Backend& device) : device_(&device) {}

  Staging take() {
    // Room for its return, which then cannot fail.
    if (free_.size() + ++taken_ > free_.capacity()) free_.reserve(2 * (free_.size() + taken_));
    if (free_.empty()) return device_ == nullptr ? Staging() : Staging(*device_);
    Staging block = std::move(free_.back());
    free_.pop_back();
    kept_ -= block.bytes();
    return block;
  }
  void give(Staging block) noexcept {
    --taken_;
    if (block.bytes() == 0) return;
    if (free_.size() >= kAnySize && kept_ + block.bytes() > kMostBytes) return;
    kept_ += block.bytes();
    free_.push_back(std::move(block));
  }
  /// Blocks in use.
  [[nodiscard]] size_t taken() const { return taken_; }

 private:
  static constexpr size_t kAnySize = 2;
  static constexpr size_t kMostBytes = size_t{4} << 20;

  const Backend* device_ = nullptr;
  std::vector<Staging> free_;
  size_t kept_ = 0;  ///< bytes in free_
  size_t taken_ = 0;
};

/// The blocks of a predictor's calls. A large call copies its inputs to where the device reads them
/// by itself, which saves it another copy; for a small one that would be a transfer of its own. Few
/// of those that wait are copied so, for such memory is slow to make. Of the JavaScript thread.
class CallStaging {
 public:
  explicit CallStaging(const Backend& device)
      : copies_(!device.shares_host_memory()), direct_(device) {}

  /// Where a call with so many bytes takes its block from, and gives it back to.
  StagingPool& pool_of(size_t bytes) {
    const bool direct = copies_ && bytes >= kLarge && direct_.taken() < kDirectAtOnce;
    return direct ? direct_ : others_;
  }

 private:
  static constexpr size_t kLarge = size_t{64} << 10;
  static constexpr size_t kDirectAtOnce = 2;  // all that a pool keeps, whatever their size

  bool copies_;
  StagingPool direct_;
  StagingPool others_;
};

}  // namespace tandem::binding
