// The launchers in the order of the Op enumeration.
#include <algorithm>
#include <iterator>

#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr Op kMissing[] = {
#define MISSING(name) Op::name,
#include "cuda/missing.def"
    Op::kCount};

consteval bool is_missing(Op op) {
  return std::find(std::begin(kMissing), std::end(kMissing), op) != std::end(kMissing);
}

/// Only what is not missing is referred to, and so has to be there when the library is linked.
template <Op op, LaunchFn launch>
consteval LaunchFn entry() {
  if constexpr (is_missing(op)) {
    return nullptr;
  } else {
    return launch;
  }
}

constexpr LaunchFn kLaunchers[] = {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) \
  launch_##name, launch_##name##Grad,
#define BINARY(name, forward, gradient_a, gradient_b) launch_##name,
#define LOSS(name, A, a_default, value, gradient_x, gradient_t) \
  launch_##name, launch_##name##Grad, launch_##name##GradTarget,
#include "core/elementwise.def"
#define OP(name, Type) entry<Op::name, launch_##name>(),
#include "core/ops.def"
};

static_assert(std::size(kLaunchers) == kOpCount);

}  // namespace

LaunchFn launcher(Op op) noexcept { return kLaunchers[static_cast<size_t>(op)]; }

}  // namespace tandem::cuda
