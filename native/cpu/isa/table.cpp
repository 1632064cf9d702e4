// The launchers of one instruction set, in the order of the Op enumeration.
#include "core/op_list.h"
#include "cpu/isa/kernels.h"

namespace tandem::cpu::TANDEM_ISA_NS {

extern const LaunchFn launchers[kOpCount];

const LaunchFn launchers[kOpCount] = {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) \
  launch_##name, launch_##name##Grad,
#define BINARY(name, forward, gradient_a, gradient_b) launch_##name,
#define LOSS(name, A, a_default, value, gradient_x, gradient_t) \
  launch_##name, launch_##name##Grad, launch_##name##GradTarget,
#include "core/elementwise.def"
#define OP(name, Type) launch_##name,
#include "core/ops.def"
};

}  // namespace tandem::cpu::TANDEM_ISA_NS
