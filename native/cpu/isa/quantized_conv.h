// Convolutions over images of bytes that lie channels last.
#pragma once

#include "cpu/kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// quantizedConv where each group has one channel.
void launch_depthwise_bytes(const NodeView& node, Emitter& emit);

}  // namespace tandem::cpu::TANDEM_ISA_NS
