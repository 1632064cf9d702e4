// What the CPU backend has allocated and not freed, to compare with what profile() says.
#pragma once

#include <cstdint>

namespace tandem::cpu {

/// Bytes, of the whole process.
struct HeldMemory {
  int64_t blocks = 0;   ///< parameters, gradients, optimizer state, arenas, packed weights
  int64_t scratch = 0;  ///< of threads, kept for as long as these live
};
HeldMemory held_memory() noexcept;

/// Adds to the bytes held; negative for what has been freed.
void note_block(int64_t bytes) noexcept;
/// Bytes of blocks that have become, or have been, scratch memory.
void note_scratch(int64_t bytes) noexcept;

}  // namespace tandem::cpu
