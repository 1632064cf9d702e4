// Products of numbers of 16 bits, bfloat16 or float16, by a warpgroup; device/wgmma.cuh has what
// they share with those of bytes. Tiles in shared memory are blocks of 64 numbers of each row, 128
// bytes, swizzled as there; a block begins at a multiple of 1024. Rows of a tile are
//   along:  those of a, or the columns of b: products sum along rows ("K-major")
//   across: those of b: products sum over rows ("MN-major", the transposed b of the PTX ISA)
// Sums are those of device/wgmma.cuh, d[j][e] for its d[4 j + e]; in pairs they are the words of a
// left factor in registers with 16 columns: of tile 2 s, then of tile 2 s + 1.
#pragma once

#include <cstdint>

#include "cuda/device/tile_product.cuh"
#include "cuda/device/wgmma.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

namespace tandem::cuda {

/// The descriptor of a factor across that begins at a multiple of 1024: as swizzled_rows(), with
/// `apart` bytes from 64 of its columns to the next 64.
TANDEM_DEVICE uint64_t swizzled_across(uint32_t address, uint32_t apart) {
  constexpr uint64_t kLeading = uint64_t{0x3FFF} << 16;
  return (swizzled_rows(address) & ~kLeading) | uint64_t{apart / 16} << 16;
}
/// What moves that descriptor on by 16 rows.
constexpr uint64_t kNextRows = 16 * 128 / 16;

/// Of byte `byte` of a row of 128 in a block, its place from the block's begin.
TANDEM_DEVICE uint32_t swizzled_place(uint32_t row, uint32_t byte) {
  return row * 128 + (byte ^ row % 8 * 16);
}

/// Two words to shared memory, at a multiple of 8.
TANDEM_DEVICE void store_words(uint32_t address, uint32_t first, uint32_t second) {
  asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(address), "r"(first), "r"(second)
               : "memory");
}

/// Keeps the compiler from reading sums before it waits.
template <int tiles>
TANDEM_DEVICE void settle(float (&d)[tiles][4]) {
#pragma unroll
  for (int i = 0; i < tiles; ++i) {
    asm volatile("" : "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])::"memory");
  }
}

/// Tells the compiler that what sums hold is of no use any more.
template <int tiles>
TANDEM_DEVICE void forget(float (&d)[tiles][4]) {
#pragma unroll
  for (int i = 0; i < tiles; ++i)
    asm volatile("" : "=f"(d[i][0]), "=f"(d[i][1]), "=f"(d[i][2]), "=f"(d[i][3]));
}

#define TANDEM_SUMS_1(i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
#define TANDEM_SUMS_8(i)                                                                    \
  TANDEM_SUMS_1(i), TANDEM_SUMS_1((i) + 1), TANDEM_SUMS_1((i) + 2), TANDEM_SUMS_1((i) + 3), \
      TANDEM_SUMS_1((i) + 4), TANDEM_SUMS_1((i) + 5), TANDEM_SUMS_1((i) + 6),               \
      TANDEM_SUMS_1((i) + 7)
#define TANDEM_NUMBERS_32                                                                 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, " \
  "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define TANDEM_NUMBERS_64                                                              \
  TANDEM_NUMBERS_32                                                                    \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define TANDEM_HALF_PRODUCT(columns, type, numbers, factors, adds, last) \
  "{\n"                                                                  \
  ".reg .pred p;\n"                                                      \
  "setp.ne.b32 p, " adds                                                 \
  ", 0;\n"                                                               \
  "wgmma.mma_async.sync.aligned.m64n" columns "k16.f32." type "." type   \
  " "                                                                    \
  "{" numbers "}, " factors ", p, 1, 1, " last                           \
  ";\n"                                                                  \
  "}\n"

/// d = a b^T, or d += a b^T where `adds`: 16 columns of 64 rows of a and of 64 rows of b, along.
template <Arithmetic kind>
TANDEM_DEVICE void multiply_along(float (&d)[8][4], uint64_t a, uint64_t b, bool adds) {
  if constexpr (kind == Arithmetic::kFloat16) {
    asm volatile(TANDEM_HALF_PRODUCT("64", "f16", TANDEM_NUMBERS_32, "%32, %33", "%34", "0, 0")
                 : TANDEM_SUMS_8(0)
                 : "l"(a), "l"(b), "r"(static_cast<int32_t>(adds)));
  } else {
    asm volatile(TANDEM_HALF_PRODUCT("64", "bf16", TANDEM_NUMBERS_32, "%32, %33", "%34", "0, 0")
                 : TANDEM_SUMS_8(0)
                 : "l"(a), "l"(b), "r"(static_cast<int32_t>(adds)));
  }
}
/// The same with 128 rows of b.
template <Arithmetic kind>
TANDEM_DEVICE void multiply_along(float (&d)[16][4], uint64_t a, uint64_t b, bool adds) {
  if constexpr (kind == Arithmetic::kFloat16) {
    asm volatile(TANDEM_HALF_PRODUCT("128", "f16", TANDEM_NUMBERS_64, "%64, %65", "%66", "0, 0")
                 : TANDEM_SUMS_8(0), TANDEM_SUMS_8(8)
                 : "l"(a), "l"(b), "r"(static_cast<int32_t>(adds)));
  } else {
    asm volatile(TANDEM_HALF_PRODUCT("128", "bf16", TANDEM_NUMBERS_64, "%64, %65", "%66", "0, 0")
                 : TANDEM_SUMS_8(0), TANDEM_SUMS_8(8)
                 : "l"(a), "l"(b), "r"(static_cast<int32_t>(adds)));
  }
}

/// d += a b: 64 rows of 16 columns of a, in registers, and 16 rows of 64 columns of b, across.
template <Arithmetic kind>
TANDEM_DEVICE void add_product_across(float (&d)[8][4], const uint32_t (&a)[4], uint64_t b) {
  if constexpr (kind == Arithmetic::kFloat16) {
    asm volatile(
        TANDEM_HALF_PRODUCT("64", "f16", TANDEM_NUMBERS_32, "{%32, %33, %34, %35}, %36", "%37", "1")
        : TANDEM_SUMS_8(0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
  } else {
    asm volatile(TANDEM_HALF_PRODUCT("64", "bf16", TANDEM_NUMBERS_32, "{%32, %33, %34, %35}, %36",
                                     "%37", "1")
                 : TANDEM_SUMS_8(0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
  }
}
/// The same with 128 columns of b.
template <Arithmetic kind>
TANDEM_DEVICE void add_product_across(float (&d)[16][4], const uint32_t (&a)[4], uint64_t b) {
  if constexpr (kind == Arithmetic::kFloat16) {
    asm volatile(TANDEM_HALF_PRODUCT("128", "f16", TANDEM_NUMBERS_64, "{%64, %65, %66, %67}, %68",
                                     "%69", "1")
                 : TANDEM_SUMS_8(0), TANDEM_SUMS_8(8)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
  } else {
    asm volatile(TANDEM_HALF_PRODUCT("128", "bf16", TANDEM_NUMBERS_64, "{%64, %65, %66, %67}, %68",
                                     "%69", "1")
                 : TANDEM_SUMS_8(0), TANDEM_SUMS_8(8)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
  }
}

#undef TANDEM_HALF_PRODUCT
#undef TANDEM_NUMBERS_64
#undef TANDEM_NUMBERS_32
#undef TANDEM_SUMS_8
#undef TANDEM_SUMS_1

}  // namespace tandem::cuda

#endif
