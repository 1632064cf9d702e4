#include "cpu/held_memory.h"

#include <atomic>

namespace tandem::cpu {
namespace {

// Nothing is ordered by them.
std::atomic<int64_t> all_blocks{0};
std::atomic<int64_t> all_scratch{0};

}  // namespace

HeldMemory held_memory() noexcept {
  const int64_t scratch = all_scratch.load(std::memory_order_relaxed);
  return {all_blocks.load(std::memory_order_relaxed) - scratch, scratch};
}

void note_block(int64_t bytes) noexcept { all_blocks.fetch_add(bytes, std::memory_order_relaxed); }

void note_scratch(int64_t bytes) noexcept {
  all_scratch.fetch_add(bytes, std::memory_order_relaxed);
}

}  // namespace tandem::cpu
