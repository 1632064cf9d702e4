// Weights that never change, in the layout of the kernels that read them.
#pragma once

#include <atomic>
#include <map>
#include <utility>

#include "core/backend.h"
#include "cpu/kernel.h"

namespace tandem::cpu {

class CpuFrozenWeights final : public FrozenWeights {
 public:
  /// The packed form of parameter `index`, packed by `fn` at the first request: see
  /// Emitter::frozen(). `plain`, elements of this type, may be null when it was packed before.
  void* find_or_pack(int32_t index, uint64_t layout, const void* plain, DType dtype, TileFn fn,
                     const void* params, size_t bytes, int64_t tiles, int64_t packed_bytes);
  [[nodiscard]] int64_t bytes() const noexcept override { return bytes_; }

 private:
  std::map<std::pair<int32_t, uint64_t>, Memory> packed_;
  std::atomic<int64_t> bytes_{0};  ///< of packed_
};

}  // namespace tandem::cpu
