// Waiting a little without giving up the processor.
#pragma once

#include <cstdint>
#include <thread>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace tandem::cpu {

inline void relax() noexcept {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#else
  std::this_thread::yield();
#endif
}

/// Spins for some ten microseconds, then yields at each turn: with more threads than processors the
/// one that is waited for must get its turn.
class Spinner {
 public:
  void pause() noexcept {
    if (turns_ < kSpins) {
      ++turns_;
      relax();
      return;
    }
    ++turns_;
    std::this_thread::yield();
  }
  /// Long enough: park now.
  [[nodiscard]] bool exhausted() const noexcept { return turns_ >= kSpins + kYields; }

 private:
  static constexpr uint32_t kSpins = 1500;
  static constexpr uint32_t kYields = 20;
  uint32_t turns_ = 0;
};

}  // namespace tandem::cpu
