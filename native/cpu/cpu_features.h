// What this processor and its operating system support.
#pragma once

namespace tandem::cpu {

bool has_avx2();    ///< AVX2, FMA, F16C, BMI1 and BMI2
bool has_avx512();  ///< the above and AVX-512 F, BW, DQ, VL

/// 512-bit instructions are carried out as two halves, so that they take twice as long (Zen 4).
bool splits_avx512();

/// Lines of the first cache of data that fall in one of its sets; 8 where the processor does not
/// say.
int l1_ways();

// What kernels of extensions/ need beyond the instruction set that they belong to.
bool has_avx_vnni();
bool has_avx512_vnni();
bool has_avx512_bf16();
bool has_amx_int8();  ///< AMX-TILE and AMX-INT8; asks Linux for the use of the tile registers
bool has_amx_bf16();  ///< the same with AMX-BF16

}  // namespace tandem::cpu
