#include "binding/mapped_range.h"

#ifndef _WIN32

#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <string>

#include "core/error.h"

namespace tandem::binding {

/// A range as the signal handler finds it. Slots are used again and never freed, so that the
/// handler may walk the list at any moment.
struct MappedRange::Slot {
  std::atomic<uintptr_t> begin{0};  ///< 0: of no range
  std::atomic<size_t> size{0};
  std::atomic<bool> lost{false};
  bool taken = false;    ///< guarded by the registry's mutex
  Slot* next = nullptr;  ///< fixed before the slot is in the list

  [[nodiscard]] bool holds(uintptr_t address) const noexcept {
    const uintptr_t first = begin.load(std::memory_order_acquire);
    const size_t bytes = size.load(std::memory_order_acquire);
    // the slot of another range may change just now: both must be of one
    if (first == 0 || begin.load(std::memory_order_acquire) != first) return false;
    return address >= first && address - first < bytes;
  }
};

/// All ranges, and the handler of SIGBUS, which is there from the first range to the end of the
/// process.
struct MappedRange::Registry {
  std::mutex mutex;  ///< of those who add and remove; the handler takes none
  std::atomic<Slot*> slots{nullptr};
  struct sigaction before = {};  ///< what SIGBUS did; for what is no range of ours

  /// Never destroyed, like the handler.
  static Registry& instance() {
    static auto* const registry = new Registry;
    return *registry;
  }

  Slot* take() {
    const std::lock_guard lock(mutex);
    for (Slot* slot = slots.load(std::memory_order_relaxed); slot != nullptr; slot = slot->next) {
      if (!slot->taken) {
        slot->taken = true;
        return slot;
      }
    }
    auto* const slot = new Slot;
    slot->taken = true;
    slot->next = slots.load(std::memory_order_relaxed);
    slots.store(slot, std::memory_order_release);
    return slot;
  }

  void give(Slot* slot) noexcept {
    const std::lock_guard lock(mutex);
    slot->taken = false;
  }

  /// Async-signal-safe: atomics and one system call. Other threads that read the range meanwhile
  /// find the file's bytes or zeros, and whoever finds zeros finds `lost` set.
  static void on_bus_error(int signal, siginfo_t* info, void* context) {
    const int error = errno;
    const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
    // a code of 0 or less is a signal that somebody sent, which has no address
    const bool is_fault = info->si_code > 0;
    Slot* slot = is_fault ? handled().slots.load(std::memory_order_acquire) : nullptr;
    while (slot != nullptr && !slot->holds(address)) slot = slot->next;
    const bool mended = slot != nullptr && replace(*slot);
    errno = error;
    if (!mended) pass_on(signal, info, context);
  }

 private:
  Registry() {
    handler_registry() = this;
    sigaction(SIGBUS, nullptr, &before);
    struct sigaction own = {};
    own.sa_sigaction = on_bus_error;
    own.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&own.sa_mask);
    sigaction(SIGBUS, &own, nullptr);
  }

  /// instance() may lock in its first call; the handler must not.
  static Registry*& handler_registry() noexcept {
    static constinit Registry* registry = nullptr;
    return registry;
  }
  static Registry& handled() noexcept { return *handler_registry(); }

  /// Puts zeros in the place of all pages. The thread that reads keeps the range mapped.
  static bool replace(Slot& slot) noexcept {
    slot.lost.store(true, std::memory_order_seq_cst);
    // the address is that of a range whose pages are the system's to give
    auto* const begin =  // NOLINTNEXTLINE(performance-no-int-to-ptr)
        reinterpret_cast<void*>(slot.begin.load(std::memory_order_relaxed));
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    return mmap(begin, slot.size.load(std::memory_order_relaxed), PROT_READ, flags, -1, 0) !=
           MAP_FAILED;
  }

  /// What would have happened without this handler.
  static void pass_on(int signal, siginfo_t* info, void* context) {
    const struct sigaction& before = handled().before;
    if ((before.sa_flags & SA_SIGINFO) != 0) return before.sa_sigaction(signal, info, context);
    const bool is_fault = info->si_code > 0;
    if (before.sa_handler == SIG_IGN && !is_fault) return;
    if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
      return before.sa_handler(signal);
    }
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    sigaction(signal, &standard, nullptr);
    // a fault happens again as soon as this returns; what was sent is sent again
    if (!is_fault) raise(signal);
  }
};

MappedRange::MappedRange(int descriptor, size_t size)
    : size_(size), slot_(Registry::instance().take()) {
  void* const data = mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  if (data == MAP_FAILED) {
    Registry::instance().give(slot_);
    fail(ErrorCode::kOutOfMemory, "expected address space for a file of " + std::to_string(size) +
                                      " bytes, the system has none left");
  }
  data_ = static_cast<std::byte*>(data);
  slot_->lost.store(false, std::memory_order_relaxed);
  slot_->size.store(size, std::memory_order_release);
  slot_->begin.store(reinterpret_cast<uintptr_t>(data), std::memory_order_release);
}

MappedRange::~MappedRange() {
  slot_->begin.store(0, std::memory_order_release);
  munmap(data_, size_);
  Registry::instance().give(slot_);
}

bool MappedRange::lost() const noexcept {
  // reads of the range come before the look at what they found
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return slot_->lost.load(std::memory_order_seq_cst);
}

}  // namespace tandem::binding

#endif
