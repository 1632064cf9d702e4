#include "cuda/host/dynamic_library.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace tandem::cuda {
namespace {

#ifdef _WIN32
void* open(const std::string& name) { return LoadLibraryA(name.c_str()); }
std::string reason() { return "error " + std::to_string(GetLastError()); }
#else
void* open(const std::string& name) {
  return dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}
std::string reason() {
  // The loader's message is of this thread. NOLINTNEXTLINE(concurrency-mt-unsafe)
  const char* const message = dlerror();
  return message == nullptr ? "no reason given" : message;
}
#endif

/// Whether it is the candidate itself that is not there, and not one that it needs.
bool says_absent(const std::string& message, const std::string& candidate) {
  const auto has = [&](const std::string& words) {
    return message.find(words) != std::string::npos;
  };
  return has("No such file") && has(candidate) && !has("needed by");
}

}  // namespace

DynamicLibrary::DynamicLibrary(const std::vector<std::string>& candidates) {
  for (const std::string& candidate : candidates) {
    handle_ = open(candidate);
    if (handle_ != nullptr) {
      name_ = candidate;
      return;
    }
    const std::string message = reason();
    if (says_absent(message, candidate)) continue;
    why_ += (why_.empty() ? "" : "; ") + message;
  }
}

void* DynamicLibrary::symbol(const char* name) const {
  if (handle_ == nullptr) return nullptr;
#ifdef _WIN32
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(handle_), name));
#else
  return dlsym(handle_, name);
#endif
}

}  // namespace tandem::cuda
