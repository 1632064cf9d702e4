// Scratch memory of the calling thread, grown on demand and kept for its next use.
#pragma once

#include <cstdint>

namespace tandem::cpu {

/// At least `bytes` bytes aligned to kAlignment; null for 0 and when there is no memory.
void* thread_scratch(int64_t bytes) noexcept;

}  // namespace tandem::cpu
