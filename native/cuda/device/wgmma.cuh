// Products of a warpgroup, four warps whose first is a multiple of four, that read both factors
// from shared memory while the warps go on: PTX ISA, "Asynchronous Warpgroup Level Matrix
// Multiply-Accumulate Instructions", which only sm_90a has. Factors are bytes, their rows 128 bytes
// along k each, swizzled: in every 1024 bytes, eight rows, the 16 bytes number i of row r lie at
// place i ^ r. Of the sums [64, n] warp w of the group holds rows 16 w and on; with g a lane's
// number / 4 and t the rest, d[4 j + e] is (g + 8 (e / 2), 8 j + 2 t + e % 2) of those.
#pragma once

#include <cstdint>

#include "cuda/device/scalar.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

namespace tandem::cuda {

/// The descriptor of a factor that begins at a multiple of 1024 in shared memory: its address, no
/// leading offset (it has no meaning where 128 bytes are swizzled, and 1 stands for it), 1024 bytes
/// from eight rows to the next eight, and the swizzle, all but the last in units of 16 bytes.
TANDEM_DEVICE uint64_t swizzled_rows(uint32_t address) {
  constexpr uint64_t kLeading = uint64_t{1} << 16;
  constexpr uint64_t kStride = uint64_t{1024 / 16} << 32;
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  return kSwizzle128 | kStride | kLeading | ((address & 0x3FFFFU) >> 4);
}
/// What moves a descriptor on by 32 bytes of k, which the swizzle allows within its 128.
constexpr uint64_t kNextDepth = 32 / 16;

/// How many registers each thread of this group of warps has from here on, a multiple of 8: less
/// than before, or more, once other groups have given some back.
template <int registers>
TANDEM_DEVICE void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}
template <int registers>
TANDEM_DEVICE void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}

/// To be called before the first product, and after anything else touched the sums.
TANDEM_DEVICE void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/// Ends a group of products.
TANDEM_DEVICE void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until no more than the `pending` latest groups are under way.
template <int pending>
TANDEM_DEVICE void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}
/// Keeps the compiler from reading sums before it waits.
template <int n>
TANDEM_DEVICE void settle(int32_t (&d)[n]) {
#pragma unroll
  for (int i = 0; i < n; ++i) asm volatile("" : "+r"(d[i])::"memory");
}

#define TANDEM_SUMS_4(i) "+r"(d[i]), "+r"(d[(i) + 1]), "+r"(d[(i) + 2]), "+r"(d[(i) + 3])
#define TANDEM_SUMS_16(i) \
  TANDEM_SUMS_4(i), TANDEM_SUMS_4((i) + 4), TANDEM_SUMS_4((i) + 8), TANDEM_SUMS_4((i) + 12)

/// d = a b, or d += a b where `adds`: 64 x 32 unsigned bytes a and 32 x 256 signed bytes b.
TANDEM_DEVICE void multiply_async(int32_t (&d)[128], uint64_t a, uint64_t b, bool adds) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k32.s32.u8.s8 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, "
      "%127}, "
      "%128, %129, p;\n"
      "}\n"
      : TANDEM_SUMS_16(0), TANDEM_SUMS_16(16), TANDEM_SUMS_16(32), TANDEM_SUMS_16(48),
        TANDEM_SUMS_16(64), TANDEM_SUMS_16(80), TANDEM_SUMS_16(96), TANDEM_SUMS_16(112)
      : "l"(a), "l"(b), "r"(static_cast<int32_t>(adds)));
}
/// The same with 128 columns.
TANDEM_DEVICE void multiply_async(int32_t (&d)[64], uint64_t a, uint64_t b, bool adds) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k32.s32.u8.s8 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "%64, %65, p;\n"
      "}\n"
      : TANDEM_SUMS_16(0), TANDEM_SUMS_16(16), TANDEM_SUMS_16(32), TANDEM_SUMS_16(48)
      : "l"(a), "l"(b), "r"(static_cast<int32_t>(adds)));
}

#undef TANDEM_SUMS_16
#undef TANDEM_SUMS_4

}  // namespace tandem::cuda

#endif
