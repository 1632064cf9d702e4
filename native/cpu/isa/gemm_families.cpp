// The families of register kernels for each type, best first.
#include "cpu/isa/gemm_families.h"

#include "cpu/isa/gemm_kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

#if defined(TANDEM_ISA_AVX512)
const GemmKernels* const kOfF32[] = {&kF32Kernels, &kF32AmxKernels, &kF32AmxReference, nullptr};
const GemmKernels* const kOfBf16[] = {&kBf16AmxKernels, &kBf16DotKernels, &kBf16Kernels,
                                      &kBf16AmxReference, nullptr};
const GemmKernels* const kOfS8[] = {&kS8AmxKernels, &kS8VnniKernels, &kS8Kernels, &kS8AmxReference,
                                    nullptr};
#elif defined(TANDEM_ISA_AVX2)
const GemmKernels* const kOfF32[] = {&kF32Kernels, nullptr};
const GemmKernels* const kOfBf16[] = {&kBf16Kernels, nullptr};
const GemmKernels* const kOfS8[] = {&kS8VnniKernels, &kS8Kernels, nullptr};
#else
const GemmKernels* const kOfF32[] = {&kF32Kernels, nullptr};
const GemmKernels* const kOfBf16[] = {&kBf16Kernels, nullptr};
const GemmKernels* const kOfS8[] = {&kS8Kernels, nullptr};
#endif

}  // namespace

const GemmKernels* const* gemm_kernels(GemmType type) {
  return type == GEMM_F32 ? kOfF32 : type == GEMM_BF16 ? kOfBf16 : kOfS8;
}

const GemmKernels*& panel_kernels() {
  static const GemmKernels* chosen = best_kernels(GEMM_BF16);
  return chosen;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
