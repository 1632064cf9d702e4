#include "core/backend.h"
#include "cpu/isa_select.h"
#include "cpu/pool.h"

namespace tandem {

CpuInfo cpu_info() {
  return {cpu::instruction_set().name, cpu::available_instruction_sets(),
          cpu::available_processors()};
}

void cpu_work_behind() { cpu::Pool::work_behind(); }

}  // namespace tandem
