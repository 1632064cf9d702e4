// Memory that a job copies its inputs to, so that no transfer of an ArrayBuffer can reach what a
// lane reads. Blocks are used again by later jobs: touching fresh pages would cost more than the
// copy.
#pragma once

#include <cstddef>
#include <iterator>
#include <memory>
#include <new>
#include <utility>

#include "core/plan.h"

namespace tandem::binding {

/// A block of cache-line aligned memory, uninitialised.
class Staging {
 public:
  Staging() = default;
  Staging(Staging&& other) noexcept
      : block_(std::move(other.block_)), bytes_(std::exchange(other.bytes_, 0)) {}
  Staging& operator=(Staging&& other) noexcept {
    block_ = std::move(other.block_);
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
  }
  /// At least `bytes`; throws std::bad_alloc. What was there is lost.
  void resize(size_t bytes) {
    if (bytes <= bytes_) return;
    block_.reset();
    bytes_ = 0;
    block_.reset(static_cast<std::byte*>(::operator new(bytes, kAlign)));
    bytes_ = bytes;
  }
  [[nodiscard]] std::byte* data() const { return block_.get(); }
  [[nodiscard]] size_t bytes() const { return bytes_; }

 private:
  static constexpr std::align_val_t kAlign{static_cast<size_t>(kAlignment)};
  struct Free {
    void operator()(std::byte* block) const { ::operator delete(block, kAlign); }
  };
  std::unique_ptr<std::byte, Free> block_;
  size_t bytes_ = 0;
};

/// Blocks between two jobs; keeps two, since more are rarely in flight. Of the JavaScript thread.
class StagingPool {
 public:
  Staging take() { return kept_ > 0 ? std::move(free_[--kept_]) : Staging(); }
  void give(Staging staging) noexcept {
    if (kept_ < std::size(free_)) free_[kept_++] = std::move(staging);
  }

 private:
  Staging free_[2];
  size_t kept_ = 0;
};

}  // namespace tandem::binding
