// The tensor cores' product of bytes, by a warp: d += a b with 16 x 32 unsigned bytes a, 32 x 8
// signed bytes b and int32 sums, which are exact. With g a lane's number / 4 and t the rest, a lane
// holds of
//   d: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
//   a: fours from (g, 4t), (g + 8, 4t), (g, 4t + 16), (g + 8, 4t + 16)
//   b: fours from (4t, g), (4t + 16, g)
// as the PTX ISA has it under "Matrix Fragments for mma.m16n8k32". Below compute capability 8.0 the
// same sums come of four products of 8 x 16 by 16 x 8.
#pragma once

#include <cstdint>

#include "cuda/device/pieces.cuh"

namespace tandem::cuda {

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800

TANDEM_DEVICE void mma_bytes(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t* b) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#else

/// Two sums of a row each.
TANDEM_DEVICE void mma_eighth(int32_t& left, int32_t& right, uint32_t a, uint32_t b) {
  asm("mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
      : "+r"(left), "+r"(right)
      : "r"(a), "r"(b));
}
TANDEM_DEVICE void mma_bytes(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t* b) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    mma_eighth(d[0], d[1], a[2 * half], b[half]);
    mma_eighth(d[2], d[3], a[2 * half + 1], b[half]);
  }
}

#endif

}  // namespace tandem::cuda
