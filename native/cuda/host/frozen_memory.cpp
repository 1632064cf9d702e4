#include "cuda/host/frozen_memory.h"

#include "core/error.h"

namespace tandem::cuda {

std::byte* FrozenMemory::find_or_make(const FrozenKey& key, int64_t bytes, const Fill& fill) {
  const std::lock_guard lock(mutex_);
  const auto found = made_.find(key);
  if (found != made_.end()) return found->second.data.get();
  Memory memory = allocate_(bytes);
  fill(memory.data.get());
  bytes_ += memory.bytes;
  return made_.emplace(key, std::move(memory)).first->second.data.get();
}

std::byte* FrozenMemory::find(const FrozenKey& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = made_.find(key);
  if (found == made_.end())
    fail(ErrorCode::kArgument, "expected what was made of a frozen weight, received none");
  return found->second.data.get();
}

}  // namespace tandem::cuda
