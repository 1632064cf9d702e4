#include "threads.h"

#include <chrono>
#include <thread>

#ifdef __linux__
#include <dirent.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>
#endif

namespace tandem::bench {

#ifdef __linux__

namespace {

/// The other threads of this process, oldest first.
std::vector<pid_t> other_threads() {
  std::vector<pid_t> threads;
  DIR* tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return threads;
  // The stream is this function's own. NOLINTNEXTLINE(concurrency-mt-unsafe)
  while (const dirent* entry = readdir(tasks)) {
    const auto thread = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (thread != 0 && thread != gettid()) threads.push_back(thread);
  }
  closedir(tasks);
  std::sort(threads.begin(), threads.end());
  return threads;
}

/// Whether the thread is running or waits for a processor.
bool runs(pid_t thread) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
  FILE* file = std::fopen(path, "re");
  if (file == nullptr) return false;
  char line[512] = "";
  const size_t length = std::fread(line, 1, sizeof line - 1, file);
  std::fclose(file);
  line[length] = 0;
  const char* name_end = std::strrchr(line, ')');
  return name_end != nullptr && std::strncmp(name_end, ") R", 3) == 0;
}

std::vector<int> allowed_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> processors;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return processors;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) processors.push_back(i);
  }
  return processors;
}

void pin(pid_t thread, int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  (void)sched_setaffinity(thread, sizeof set, &set);  // where it is forbidden, threads roam
}

}  // namespace

void pin_new_threads() {
  static const std::vector<int> processors = allowed_processors();
  static std::vector<pid_t> known;
  if (processors.empty()) return;
  pin(0, processors[0]);
  size_t next = 1;
  const std::vector<pid_t> threads = other_threads();
  for (const pid_t thread : threads) {
    if (!std::binary_search(known.begin(), known.end(), thread))
      pin(thread, processors[next++ % processors.size()]);
  }
  known = threads;
}

long times_interrupted() {
  rusage usage{};
  return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_nivcsw : 0;
}

void wait_until_quiet() {
  constexpr int kLongest = 100;
  for (int i = 0; i < kLongest; ++i) {
    const std::vector<pid_t> threads = other_threads();
    if (std::none_of(threads.begin(), threads.end(), runs)) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

#else

void pin_new_threads() {}
long times_interrupted() { return 0; }
void wait_until_quiet() { std::this_thread::sleep_for(std::chrono::milliseconds(50)); }

#endif

}  // namespace tandem::bench
