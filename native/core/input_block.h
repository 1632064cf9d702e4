// How far apart inputs lie behind one another, in memory that a device copies from as in its own:
// where both agree, the inputs of a step are one copy.
#pragma once

#include "core/shape.h"

namespace tandem {

/// Accesses of 16 bytes and whole lines of a GPU's second cache begin at its multiples.
inline constexpr int64_t kInputAlignment = 256;

/// What so many bytes take with what lies behind them. Throws where that is too much.
inline int64_t align_input(int64_t bytes) {
  return checked_add(bytes, kInputAlignment - 1) / kInputAlignment * kInputAlignment;
}

}  // namespace tandem
