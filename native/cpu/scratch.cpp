#include "cpu/scratch.h"

#include "core/backend.h"
#include "cpu/held_memory.h"

namespace tandem::cpu {
namespace {

struct Scratch {
  Memory memory;
  ~Scratch() { note_scratch(-memory.bytes); }
};

}  // namespace

void* thread_scratch(int64_t bytes) noexcept {
  thread_local Scratch scratch;
  Memory& memory = scratch.memory;
  try {
    if (bytes > memory.bytes) {
      Memory larger = cpu_backend().allocate(bytes);
      note_scratch(bytes - memory.bytes);
      memory = std::move(larger);
    }
  } catch (const Error&) {
    return nullptr;
  }
  return bytes == 0 ? nullptr : memory.data.get();
}

}  // namespace tandem::cpu
