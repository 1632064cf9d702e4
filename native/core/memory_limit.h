// The option `memoryLimit`: what a Trainer or a Predictor may hold on its device.
#pragma once

#include <cstdint>

#include "core/backend.h"

namespace tandem {

/// Throws ERR_OUT_OF_MEMORY, with what was asked for and what is free, where bytes that are to be
/// `wanted`, of which there are `held` now, are more than `limit`; 0: none.
void check_memory_limit(int64_t limit, int64_t held, int64_t wanted, const Backend& backend);

}  // namespace tandem
