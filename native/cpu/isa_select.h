// Instruction sets as an ordered list: the first that this processor has is used, unless TANDEM_ISA
// names another one.
#pragma once

#include <string>
#include <vector>

#include "cpu/kernel.h"

namespace tandem::cpu {

struct InstructionSet {
  const char* name;
  bool (*available)();
  const LaunchFn* launchers;  ///< by Op
};

/// The one in use. Throws ERR_DEVICE when TANDEM_ISA names one that is unknown or not available.
const InstructionSet& instruction_set();
/// Names of those this processor has, best first.
std::vector<std::string> available_instruction_sets();

}  // namespace tandem::cpu
