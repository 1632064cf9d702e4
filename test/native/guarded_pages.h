// Memory that ends or starts at a page without access: no instruction reads or writes past it,
// those that sanitizers do not see (tiles, masked vectors) included.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define TANDEM_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TANDEM_POISON 1
#endif
#endif
#if defined(TANDEM_POISON)
#include <sanitizer/asan_interface.h>
#define TANDEM_READS_POISON __attribute__((no_sanitize_address))
#else
#define TANDEM_READS_POISON
#endif

namespace tandem::cpu {

/// `bytes` bytes at a multiple of `alignment`, as near to one of the pages as that allows. What
/// lies between it and the pages is checked for writes, and poisoned under AddressSanitizer.
class GuardedPages {
 public:
  enum class Side { kEnd, kStart };

  GuardedPages(size_t bytes, size_t alignment, Side side) : bytes_(bytes) {
    const size_t aligned = (bytes + alignment - 1) / alignment * alignment;
    reserve(aligned, side);
    std::memset(first_, kPattern, static_cast<size_t>(last_ - first_));
#if defined(TANDEM_POISON)
    ASAN_POISON_MEMORY_REGION(first_, static_cast<size_t>(data_ - first_));
    ASAN_POISON_MEMORY_REGION(data_ + bytes, static_cast<size_t>(last_ - data_) - bytes);
#endif
  }
  GuardedPages(const GuardedPages&) = delete;
  GuardedPages& operator=(const GuardedPages&) = delete;
  ~GuardedPages() {
#if defined(TANDEM_POISON)
    ASAN_UNPOISON_MEMORY_REGION(first_, static_cast<size_t>(last_ - first_));
#endif
#if defined(__linux__)
    munmap(base_, size_);
#else
    ::operator delete(base_, std::align_val_t{kMargin});
#endif
  }

  [[nodiscard]] void* data() const { return data_; }
  [[nodiscard]] size_t bytes() const { return bytes_; }
  /// Whether nothing was written around it.
  [[nodiscard]] TANDEM_READS_POISON bool intact() const {
    for (const unsigned char* p = first_; p < last_; ++p) {
      if (p == data_) p += bytes_;
      if (p < last_ && *p != kPattern) return false;
    }
    return true;
  }

 private:
  static constexpr unsigned char kPattern = 0x5a;

  void reserve(size_t bytes, [[maybe_unused]] Side side) {
#if defined(__linux__)
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t inside = (bytes + page - 1) / page * page;
    size_ = inside + 2 * page;
    void* const all = mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<unsigned char*>(all);
    first_ = base_ + page;
    last_ = first_ + inside;
    if (inside > 0 && mprotect(first_, inside, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    data_ = side == Side::kStart ? first_ : last_ - bytes;
#else
    size_ = bytes + 2 * kMargin;
    base_ = static_cast<unsigned char*>(::operator new(size_, std::align_val_t{kMargin}));
    first_ = base_;
    last_ = base_ + size_;
    data_ = base_ + kMargin;
#endif
  }

#if !defined(__linux__)
  static constexpr size_t kMargin = 256;
#endif
  size_t bytes_, size_ = 0;
  unsigned char *base_ = nullptr, *first_ = nullptr, *last_ = nullptr, *data_ = nullptr;
};

}  // namespace tandem::cpu
