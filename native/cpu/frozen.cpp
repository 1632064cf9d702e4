#include "cpu/frozen.h"

#include <cstring>
#include <vector>

namespace tandem::cpu {

void* CpuFrozenWeights::find_or_pack(int32_t index, uint64_t layout, const void* plain, TileFn fn,
                                     const void* params, size_t bytes, int64_t tiles,
                                     int64_t packed_bytes) {
  Memory& memory = packed_[{index, layout}];
  if (memory.data != nullptr) return memory.data.get();
  if (plain == nullptr)
    fail(ErrorCode::kArgument, "expected a weight that is packed already, received none");
  memory = cpu_backend().allocate(packed_bytes);
  std::vector<std::max_align_t> copy(bytes / sizeof(std::max_align_t) + 1);
  if (bytes > 0) std::memcpy(copy.data(), params, bytes);
  void* operands[2] = {const_cast<void*>(plain), memory.data.get()};
  for (int64_t tile = 0; tile < tiles; ++tile) fn(copy.data(), operands, tile, {nullptr, nullptr});
  return memory.data.get();
}

int64_t CpuFrozenWeights::bytes() const {
  int64_t total = 0;
  for (const auto& [key, memory] : packed_) total += memory.bytes;
  return total;
}

}  // namespace tandem::cpu
