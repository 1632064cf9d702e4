#include "core/priority.h"

#ifdef __linux__
#include <sys/resource.h>
#include <unistd.h>
#elif defined(_WIN32)
#define NOMINMAX
#include <windows.h>
#endif

namespace tandem {

void lower_thread_priority() noexcept {
#ifdef __linux__
  // Of this thread alone, though POSIX says process. Half the weight of a thread at 0; with an
  // equal one, a waking event loop waits for the end of a time slice of some milliseconds.
  constexpr int kNice = 3;
  // Counted from the main thread: a thread begins with the priority of the one that makes it.
  (void)setpriority(PRIO_PROCESS, 0,
                    getpriority(PRIO_PROCESS, static_cast<id_t>(getpid())) + kNice);
#elif defined(_WIN32)
  (void)SetThreadPriority(GetCurrentThread(), THREAD_PRIORITY_BELOW_NORMAL);
#endif
}

}  // namespace tandem
