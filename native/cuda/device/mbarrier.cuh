// Barriers in shared memory that count bytes as well as arrivals, and the copies of tiles that
// report to them: PTX ISA, "mbarrier" and "cp.async.bulk.tensor", which need compute capability
// 9.0. Addresses are those of the shared window. A barrier's phases end in turn: to wait with
// parity 0 is to wait for the end of the first, third... of them.
#pragma once

#include <cstdint>

#include "cuda/device/scalar.cuh"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900

namespace tandem::cuda {

TANDEM_DEVICE uint32_t shared_address(const void* at) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(at));
}

/// A phase ends after so many arrivals. One thread calls it, and barriers_made() once all are made.
TANDEM_DEVICE void make_barrier(uint32_t barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

/// Shows new barriers to the engine that copies; the block synchronizes after it.
TANDEM_DEVICE void barriers_made() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async;" ::: "memory");
}

TANDEM_DEVICE void arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/// Arrives, and lets the phase wait for `bytes` of copies.
TANDEM_DEVICE void arrive_expecting(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

TANDEM_DEVICE bool phase_ended(uint32_t barrier, uint32_t parity) {
  uint32_t ended = 0;
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
      "selp.u32 %0, 1, 0, p;\n"
      "}\n"
      : "=r"(ended)
      : "r"(barrier), "r"(parity)
      : "memory");
  return ended != 0;
}

/// Waits for the end of a phase.
TANDEM_DEVICE void wait_phase(uint32_t barrier, uint32_t parity) {
  while (!phase_ended(barrier, parity)) {
  }
}

/// The same by a thread that watches over the others: a barrier that stays shut for seconds never
/// opens, and an error of the kernel is better than a process that hangs.
TANDEM_DEVICE void watch_phase(uint32_t barrier, uint32_t parity) {
  constexpr int64_t kMostCycles = int64_t{1} << 34;
  if (phase_ended(barrier, parity)) return;
  const int64_t begin = clock64();
  while (!phase_ended(barrier, parity)) {
    if (clock64() - begin > kMostCycles) __trap();
  }
}

/// Shows what this thread wrote to shared memory to products that read it once they have seen an
/// arrival of this thread.
TANDEM_DEVICE void show_writes() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/// Which of `stages` is next, and how often it came before, modulo 2.
template <int stages>
struct StageCounter {
  int stage = 0;
  uint32_t parity = 0;
  TANDEM_DEVICE void advance() {
    if (++stage < stages) return;
    stage = 0;
    parity ^= 1;
  }
};

/// Copies the box of a matrix whose first element is (`row`, `column`) to shared memory, zeros for
/// what lies outside, and reports its bytes, those zeros too, to `barrier`. `map` is a CUtensorMap
/// among the kernel's parameters.
TANDEM_DEVICE void copy_box(uint32_t to, const void* map, int32_t row, int32_t column,
                            uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4}], [%2];" ::"r"(to),
      "l"(reinterpret_cast<uint64_t>(map)), "r"(barrier), "r"(column), "r"(row)
      : "memory");
}

}  // namespace tandem::cuda

#endif
