// Counts what any thread of the tests allocates: allocations.cpp replaces the global operators new.
// Blocks that the system maps for a Backend are counted, too, each by what owns it.
#pragma once

#include <cstdint>

namespace tandem {

/// False under AddressSanitizer, where nothing is counted.
bool counts_allocations() noexcept;
/// So far, of all threads.
uint64_t allocations() noexcept;

}  // namespace tandem
