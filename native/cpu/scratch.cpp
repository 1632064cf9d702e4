#include "cpu/scratch.h"

#include "core/backend.h"

namespace tandem::cpu {

void* thread_scratch(int64_t bytes) noexcept {
  thread_local Memory memory;
  try {
    if (bytes > memory.bytes) memory = cpu_backend().allocate(bytes);
  } catch (const Error&) {
    return nullptr;
  }
  return bytes == 0 ? nullptr : memory.data.get();
}

}  // namespace tandem::cpu
