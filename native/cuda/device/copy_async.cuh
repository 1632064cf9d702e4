// Copies from global to shared memory that go on while the block computes: PTX ISA, "cp.async",
// which needs compute capability 8.0. Below it they are plain copies, which have happened at once.
#pragma once

#include <cstdint>

#include "cuda/device/scalar.cuh"

namespace tandem::cuda {

/// Copies 16 bytes, both addresses multiples of 16; zeros where not `there`, and then `from` is not
/// read.
TANDEM_DEVICE void copy_async(void* to, const void* from, bool there) {
#if __CUDA_ARCH__ >= 800
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  const uint32_t bytes = there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes)
               : "memory");
#else
  *static_cast<uint4*>(to) = there ? *static_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
#endif
}

/// Copies `floats`, 0 to 4, both addresses multiples of 16 bytes, and zeros up to the fourth.
TANDEM_DEVICE void copy_async_part(float* to, const float* from, int floats) {
#if __CUDA_ARCH__ >= 800
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
               "r"(floats * 4)
               : "memory");
#else
  for (int i = 0; i < 4; ++i) to[i] = i < floats ? from[i] : 0.0F;
#endif
}

/// Copies a float; zero where not `there`, and then `from` is not read.
TANDEM_DEVICE void copy_async_word(float* to, const float* from, bool there) {
#if __CUDA_ARCH__ >= 800
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(from),
               "r"(there ? 4 : 0)
               : "memory");
#else
  *to = there ? *from : 0.0F;
#endif
}

/// Ends a group of copies of this thread.
TANDEM_DEVICE void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// Waits until no more than the `pending` latest groups of this thread are under way.
template <int pending>
TANDEM_DEVICE void wait_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

}  // namespace tandem::cuda
