// Peaks of instructions that not every processor of an instruction set has.
#pragma once

#include <cstdint>

namespace tandem::bench {

/// Runs rounds of independent instructions and returns their operations.
using PeakKernel = double (*)(int64_t rounds);

/// The kernels by the name of the instruction set in use ("avx2"); null when there is no such
/// instruction: bfloat16 is then expanded to float32, and int8 has no roof of its own.
PeakKernel bf16_peak(const char* isa);
PeakKernel s8_peak(const char* isa);

}  // namespace tandem::bench
