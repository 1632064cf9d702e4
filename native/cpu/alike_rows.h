// Whether a prediction gives a row the same bits in the company of others as alone.
#pragma once

#include "core/graph.h"

namespace tandem::cpu {

/// For the graph of a prediction of some rows, at most kAlikeRows of them in each run (cpu/gemm.h):
/// whether rows have those bits. It knows dense networks; others may be alike and are not found to
/// be.
bool are_rows_alike(const Graph& graph);

}  // namespace tandem::cpu
