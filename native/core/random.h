// Philox 4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel Random
// Numbers: As Easy as 1, 2, 3" (2011). A number is a function of key and counter alone, so masks
// and initial weights are the same on every device and every number of threads. Functions are
// static: each translation unit, whatever its instruction set, keeps its own copy; and constexpr,
// so that the CUDA compiler may call them in kernels.
#pragma once

#include <cstdint>

namespace tandem {

struct Philox {
  uint32_t word[4];
};

/// Four random words for this key and counter.
[[maybe_unused]] static constexpr Philox philox(uint64_t key, uint64_t counter_low,
                                                uint64_t counter_high) {
  Philox x{{static_cast<uint32_t>(counter_low), static_cast<uint32_t>(counter_low >> 32),
            static_cast<uint32_t>(counter_high), static_cast<uint32_t>(counter_high >> 32)}};
  auto k0 = static_cast<uint32_t>(key);
  auto k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53U} * x.word[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57U} * x.word[2];
    x = {{static_cast<uint32_t>(p1 >> 32) ^ x.word[1] ^ k0, static_cast<uint32_t>(p1),
          static_cast<uint32_t>(p0 >> 32) ^ x.word[3] ^ k1, static_cast<uint32_t>(p0)}};
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  return x;
}

/// Uniform in [0, 1) with 24 bits.
[[maybe_unused]] static constexpr float unit_float(uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24F;
}

}  // namespace tandem
