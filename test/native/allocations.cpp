#include "allocations.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

#ifdef _WIN32
#include <malloc.h>
#endif

namespace {

std::atomic<uint64_t> count{0};

[[maybe_unused]] void* aligned_block(std::size_t bytes, std::size_t alignment) noexcept {
#ifdef _WIN32
  return _aligned_malloc(bytes, alignment);
#else
  void* block = nullptr;
  return posix_memalign(&block, std::max(alignment, sizeof(void*)), bytes) == 0 ? block : nullptr;
#endif
}

[[maybe_unused]] void free_aligned(void* block) noexcept {
#ifdef _WIN32
  _aligned_free(block);
#else
  std::free(block);
#endif
}

}  // namespace

uint64_t tandem::allocations() noexcept { return count.load(); }

// AddressSanitizer has operators of its own, which match each other alone.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TANDEM_KEEPS_OPERATORS
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define TANDEM_KEEPS_OPERATORS
#endif

#if defined(TANDEM_KEEPS_OPERATORS)

bool tandem::counts_allocations() noexcept { return false; }

#else

bool tandem::counts_allocations() noexcept { return true; }

// The other forms, of arrays and those that return null, call these.
void* operator new(std::size_t bytes) {
  count.fetch_add(1, std::memory_order_relaxed);
  if (void* const block = std::malloc(std::max<std::size_t>(bytes, 1))) return block;
  throw std::bad_alloc();
}

void* operator new(std::size_t bytes, std::align_val_t alignment) {
  count.fetch_add(1, std::memory_order_relaxed);
  if (void* const block = aligned_block(bytes, static_cast<std::size_t>(alignment))) return block;
  throw std::bad_alloc();
}

void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t /*bytes*/) noexcept { std::free(block); }
void operator delete(void* block, std::align_val_t /*alignment*/) noexcept { free_aligned(block); }
void operator delete(void* block, std::size_t /*bytes*/, std::align_val_t /*alignment*/) noexcept {
  free_aligned(block);
}

#endif
