// Which kernels round their result for products that read it: those that have it as a Result
// (launch.h).
#pragma once

#include "core/backend.h"

namespace tandem::cuda {

/// See Backend::rounds_result.
bool rounds_result(const Graph& graph, const Node& node, const RoundedResult& how);

}  // namespace tandem::cuda
