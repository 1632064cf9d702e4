#include "core/backend.h"
#include "cpu/cpu_features.h"
#include "cpu/isa_select.h"
#include "cpu/pool.h"

namespace tandem {

CpuInfo cpu_info() {
  return {cpu::instruction_set().name, cpu::available_instruction_sets(),
          cpu::available_processors()};
}

std::vector<std::string> cpu_extensions() {
  struct Extension {
    const char* name;
    const char* isa;  ///< that has kernels for it
    bool (*available)();
  };
  constexpr Extension kExtensions[] = {
      {"amx_bf16", "avx512", cpu::has_amx_bf16},
      {"amx_int8", "avx512", cpu::has_amx_int8},
      {"avx512_bf16", "avx512", cpu::has_avx512_bf16},
      {"avx512_vnni", "avx512", cpu::has_avx512_vnni},
      {"avx_vnni", "avx2", cpu::has_avx_vnni},
  };
  const std::string isa = cpu::instruction_set().name;
  std::vector<std::string> names;
  for (const Extension& extension : kExtensions) {
    if (isa == extension.isa && extension.available()) names.emplace_back(extension.name);
  }
  return names;
}

void cpu_work_behind() { cpu::Pool::work_behind(); }

}  // namespace tandem
