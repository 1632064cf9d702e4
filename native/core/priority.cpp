#include "core/priority.h"

#ifdef __linux__
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#elif defined(_WIN32)
#define NOMINMAX
#include <windows.h>
#endif

namespace tandem {
namespace {

#ifdef __linux__

/// Of this thread alone, though POSIX says process: half the weight of a thread at 0. With an equal
/// one, a waking event loop waits for the end of a time slice of some milliseconds.
void lower_weight() noexcept {
  constexpr int kNice = 3;
  // Counted from the main thread: a thread begins with the priority of the one that makes it.
  (void)setpriority(PRIO_PROCESS, 0,
                    getpriority(PRIO_PROCESS, static_cast<id_t>(getpid())) + kNice);
}

/// Linux's struct sched_attr, which C libraries do not declare, in its first version.
struct SchedulingAttributes {
  uint32_t size = sizeof(SchedulingAttributes);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0;  ///< nanoseconds
  uint64_t deadline = 0;
  uint64_t period = 0;
};

/// A time slice that is longer than the default of 0.7 to 2.8 ms: since Linux 6.12 a thread with a
/// shorter one does not wait for its end when it wakes. The scheduler looks at slices only once in
/// a tick, every 4 ms as a rule. Shares of the processors stay what they are, and earlier versions
/// take no notice.
void lengthen_slice() noexcept {
#if defined(SYS_sched_getattr) && defined(SYS_sched_setattr)
  constexpr uint64_t kSlice = 6'000'000;
  SchedulingAttributes attributes;
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  // Whoever chose another policy means it.
  if (attributes.policy != SCHED_OTHER) return;
  attributes.runtime = kSlice;
  (void)syscall(SYS_sched_setattr, 0, &attributes, 0);
#endif
}

#endif

}  // namespace

void lower_thread_priority() noexcept {
#ifdef __linux__
  lower_weight();
  lengthen_slice();
#elif defined(_WIN32)
  (void)SetThreadPriority(GetCurrentThread(), THREAD_PRIORITY_BELOW_NORMAL);
#endif
}

}  // namespace tandem
