// The families of register kernels that an instruction set has.
#pragma once

#include "cpu/gemm_kernels.h"

namespace tandem::cpu::TANDEM_ISA_NS {

extern const GemmKernels kF32Kernels;   // gemm_f32.cpp
extern const GemmKernels kBf16Kernels;  // gemm_bf16.cpp
extern const GemmKernels kS8Kernels;    // gemm_s8.cpp

extern const GemmRounding kBf16Rounding;  // gemm_round.cpp

// extensions/, for processors that have more than the instruction set
extern const GemmKernels kBf16DotKernels;
extern const GemmKernels kS8VnniKernels;
extern const GemmKernels kBf16AmxKernels;
extern const GemmKernels kS8AmxKernels;
extern const GemmKernels kF32AmxKernels;
// The same in software, for tests: they stand behind kernels that are always available.
extern const GemmKernels kBf16AmxReference;
extern const GemmKernels kS8AmxReference;
extern const GemmKernels kF32AmxReference;

}  // namespace tandem::cpu::TANDEM_ISA_NS
