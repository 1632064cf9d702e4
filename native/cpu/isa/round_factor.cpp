// roundFactor: floats as numbers of 16 bits. For plans of other devices, which tests run here;
// those of the CPU round factors while they pack them.
#include "core/ops/round_factor.h"

#include "cpu/half_rows.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {

void launch_roundFactor(const NodeView& node, Emitter& emit) {
  const HalfRows rows = half_rows(*node.outputs[0], 1, 0);
  emit_step(emit, narrow_rows, rows, rows.rows,
            kMoveCost * static_cast<double>(node.outputs[0]->numel));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
