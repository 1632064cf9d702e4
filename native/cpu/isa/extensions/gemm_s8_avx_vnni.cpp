// AVX-VNNI.
#include "cpu/isa/extensions/gemm_s8_vnni.h"

#include "cpu/cpu_features.h"

namespace tandem::cpu::TANDEM_ISA_NS {

const GemmKernels kS8VnniKernels = vnni_kernels("avx_vnni", has_avx_vnni);

}  // namespace tandem::cpu::TANDEM_ISA_NS
