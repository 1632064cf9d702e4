// What this processor and its operating system support.
#pragma once

namespace tandem::cpu {

bool has_avx2();    ///< AVX2, FMA, F16C, BMI1 and BMI2
bool has_avx512();  ///< the above and AVX-512 F, BW, DQ, VL

}  // namespace tandem::cpu
