// Parameters of quantized models that are bytes in memory.
#pragma once

#include <vector>

#include "core/predictor.h"

namespace tandem {

/// Floats in place of bytes, in a copy of the parameters: for devices that make their own bytes of
/// floats, the same ones again. `graphs` have the same parameters. Throws ERR_ARGUMENT where a node
/// has not as many scales as its weight has rows.
void expand_bytes(HostParameters& parameters, std::vector<GraphDescription>& graphs);

}  // namespace tandem
