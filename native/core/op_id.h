// The type of an op's number, without the list of ops: what need not know the numbers includes this
// and is not compiled again when an op is added.
#pragma once

#include <cstdint>

namespace tandem {

enum class Op : uint16_t;

}  // namespace tandem
