// Which steps of a plan may run at the same time, and who takes what of them. Steps touch memory at
// known places, so what has to wait for what is known when a plan is compiled: a step waits for
// those before it that write what it touches or read what it writes, and for nothing else. While a
// plan runs there are no barriers; each unit of work counts its finished tiles.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/hazards.h"
#include "cpu/spin.h"

namespace tandem::cpu {

/// A step as the schedule sees it.
struct StepShape {
  int64_t tiles;
  double cost;                ///< nanoseconds on one core
  std::vector<size_t> after;  ///< earlier steps
};

/// The tiles of one step, which any threads share, or whole steps [first, last) that one thread
/// runs in a row, because they are too small to share.
struct Unit {
  size_t first, last;
  int64_t tiles;                ///< 1 for whole steps
  std::vector<uint32_t> after;  ///< earlier units that end first
};

/// Steps of less than this many nanoseconds are not worth sharing.
inline constexpr double kWorthSharing = 4000;

std::vector<Unit> make_units(const std::vector<StepShape>& steps);

/// The units of a run on their way. Threads call work() at the same time; it returns when nothing
/// is left to take, though others may still be at their last tiles.
///
/// Each thread begins at its own share of a unit's tiles and helps others when that is done. Tiles
/// of one number tend to touch the same part of the weights and their state from step to step,
/// which so stays in the caches of one processor.
class UnitQueue {
 public:
  UnitQueue(std::vector<Unit> units, int workers);

  void reset() noexcept;

  /// Calls run(unit, tile) for all that thread `worker` of those that work takes, which for thread
  /// 0 is all that nobody else takes: the first unit in order that is ready, and of units behind it
  /// no more than a few, whose data would be far from any cache.
  template <typename Run>
  void work(int worker, const Run& run) {
    size_t front = 0;
    Spinner spinner;
    while (true) {
      const size_t last = worker == 0 ? units_.size() : shared_end_;
      while (front < last && exhausted(front)) ++front;
      // Whole steps at the end are left to the caller, who need not wait for helpers then.
      if (front == last) return;
      const size_t end = std::min(last, front + kLookahead);
      size_t unit = front;
      while (unit < end && !(ready(unit) && take(unit, worker, run))) ++unit;
      if (unit < end) {
        spinner = {};
      } else {
        spinner.pause();
      }
    }
  }

 private:
  static constexpr size_t kLookahead = 16;
  static constexpr int kMaxShares = 8;  // more threads begin where others do
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
  };
  struct alignas(64) Progress {
    std::atomic<int64_t> done{0};
    std::atomic<bool> exhausted{false};  ///< every tile is taken
  };

  [[nodiscard]] bool exhausted(size_t unit) const noexcept {
    return progress_[unit].exhausted.load(std::memory_order_relaxed);
  }
  [[nodiscard]] bool ready(size_t unit) const noexcept;
  [[nodiscard]] size_t shares_of(size_t unit) const noexcept {
    return std::min(shares_each_, static_cast<size_t>(units_[unit].tiles));
  }
  [[nodiscard]] int64_t share_begin(size_t unit, size_t share) const noexcept {
    return units_[unit].tiles * static_cast<int64_t>(share) / static_cast<int64_t>(shares_of(unit));
  }

  /// Takes tiles until none is left; false if there was none to begin with.
  template <typename Run>
  bool take(size_t unit, int worker, const Run& run) {
    const size_t count = shares_of(unit);
    int64_t ran = 0;
    for (size_t i = 0; i < count; ++i) {
      const size_t share = (static_cast<size_t>(worker) + i) % count;
      std::atomic<int64_t>& next = shares_[unit * shares_each_ + share].next;
      const int64_t end = share_begin(unit, share + 1);
      for (int64_t tile = next.fetch_add(1, std::memory_order_relaxed); tile < end;
           tile = next.fetch_add(1, std::memory_order_relaxed)) {
        run(units_[unit], tile);
        ++ran;
      }
    }
    progress_[unit].exhausted.store(true, std::memory_order_relaxed);
    if (ran > 0) progress_[unit].done.fetch_add(ran, std::memory_order_release);
    return ran > 0;
  }

  std::vector<Unit> units_;
  size_t shared_end_ = 0;  ///< behind the last unit of several tiles
  size_t shares_each_;
  std::vector<Share> shares_;  ///< by unit
  std::vector<Progress> progress_;
};

}  // namespace tandem::cpu
