// What a plan asks about products of floats that are made of bfloat16 parts.
#pragma once

#include "cpu/isa/gemm_kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

// The kernels that split floats, where two threads multiply faster by them; otherwise null. By an
// estimate in cycles of a product whose operands are in the L2.
const GemmKernels* splitting_kernels(const GemmDesc& d);

// Whether it is faster to split operands several times than to read what another thread has split.
bool splits_alone(const GemmDesc& d);

// A few tiles, each of which splits its rows and its columns: as few of both as that goes.
void choose_alone(GemmPlan& p);

}  // namespace tandem::cpu::TANDEM_ISA_NS
