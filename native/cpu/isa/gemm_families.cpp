// The families of register kernels for each type, best first.
#include "cpu/isa/gemm_families.h"

#include "cpu/isa/gemm_kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

const GemmKernels* const kOfF32[] = {&kF32Kernels, nullptr};

const GemmKernels* const kOfBf16[] = {
#if defined(TANDEM_ISA_AVX512)
    &kBf16DotKernels,
#endif
    &kBf16Kernels, nullptr};

const GemmKernels* const kOfS8[] = {
#if defined(TANDEM_ISA_AVX512) || defined(TANDEM_ISA_AVX2)
    &kS8VnniKernels,
#endif
    &kS8Kernels, nullptr};

}  // namespace

const GemmKernels* const* gemm_kernels(GemmType type) {
  return type == GEMM_F32 ? kOfF32 : type == GEMM_BF16 ? kOfBf16 : kOfS8;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
