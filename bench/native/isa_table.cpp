#include "isa_table.h"

#include <string_view>

#include "core/error.h"
#include "cpu/isa_select.h"

#define TANDEM_DECLARE_ISA(ns) \
  TANDEM_GEMM_DECLARE(ns)      \
  TANDEM_DECLARE_ROOFS(ns)
TANDEM_DECLARE_ISA(isa_scalar)
TANDEM_DECLARE_ISA(isa_avx2)
TANDEM_DECLARE_ISA(isa_avx512)
#undef TANDEM_DECLARE_ISA

namespace tandem::bench {
namespace {

#define TANDEM_TABLE(name)         \
  {#name,                          \
   &cpu::isa_##name::roof_kernels, \
   cpu::isa_##name::plan_gemm,     \
   cpu::isa_##name::gemm_pack_b,   \
   cpu::isa_##name::gemm_pack_a,   \
   cpu::isa_##name::gemm_compute}

constexpr IsaTable kTables[] = {
    TANDEM_TABLE(scalar),
#ifdef TANDEM_HAVE_AVX2
    TANDEM_TABLE(avx2),
#endif
#ifdef TANDEM_HAVE_AVX512
    TANDEM_TABLE(avx512),
#endif
};
#undef TANDEM_TABLE

}  // namespace

const IsaTable& isa_table() {
  const std::string_view wanted = cpu::instruction_set().name;
  for (const IsaTable& table : kTables) {
    if (wanted == table.name) return table;
  }
  fail(ErrorCode::kDevice, "no benchmarks of the instruction set in use");
}

}  // namespace tandem::bench
