// Scratch memory of the calling thread, grown on demand and kept for its next use.
#pragma once

#include <cstdint>

namespace tandem::cpu {

/// At least `bytes` bytes aligned to kAlignment; null for 0. Throws ERR_OUT_OF_MEMORY.
void* thread_scratch(int64_t bytes);

}  // namespace tandem::cpu
