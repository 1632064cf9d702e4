// Denormal numbers as zeros, for as long as a tile runs that makes gradients or takes them.
#pragma once

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace tandem::cpu::TANDEM_ISA_NS {

/// Takes denormal numbers for zero while it lives. The averages of a gradient that has become zero,
/// as a dead unit's does, decay into denormals and stay there for good, and arithmetic on those is
/// several times slower. So is that on the gradient of a row whose class is all but certain, the
/// odds of the others being e^-90, and all that is made of it on the way back.
class FlushDenormals {
 public:
  FlushDenormals() = default;
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
#if defined(__SSE2__) || defined(_M_X64)
  ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  static unsigned enter() {
    constexpr unsigned kFlushToZero = 0x8000;
    constexpr unsigned kDenormalsAreZero = 0x0040;
    const unsigned saved = _mm_getcsr();
    _mm_setcsr(saved | kFlushToZero | kDenormalsAreZero);
    return saved;
  }
  unsigned saved_ = enter();
#else
  ~FlushDenormals() {}
#endif
};

}  // namespace tandem::cpu::TANDEM_ISA_NS
