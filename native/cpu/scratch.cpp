#include "cpu/scratch.h"

#include "core/backend.h"

namespace tandem::cpu {

void* thread_scratch(int64_t bytes) {
  thread_local Memory memory;
  if (bytes > memory.bytes) memory = cpu_backend().allocate(bytes);
  return bytes == 0 ? nullptr : memory.data.get();
}

}  // namespace tandem::cpu
