// What the benchmarks call of each instruction set. One is chosen when the program starts, the same
// that the library uses.
#pragma once

#include "cpu/gemm_kernels.h"
#include "isa/roof_kernels.h"

namespace tandem::bench {

struct IsaTable {
  const char* name;
  const RoofKernels* roofs;
  cpu::GemmPlan (*plan_gemm)(const cpu::GemmDesc& desc);
  void (*gemm_pack_b)(const cpu::GemmPlan& plan, const void* b, void* packed, int64_t tile);
  void (*gemm_pack_a)(const cpu::GemmPlan& plan, const void* a, void* packed, int64_t tile);
  void (*gemm_compute)(const cpu::GemmPlan& plan, const void* a, const void* b, void* c,
                       const cpu::GemmEpilogue& epilogue, int64_t tile, void* scratch);
};

/// The one in use (see TANDEM_ISA).
const IsaTable& isa_table();

}  // namespace tandem::bench
