#include "cpu/isa_select.h"

#include <cstdlib>
#include <iterator>

#include "core/error.h"
#include "core/op_list.h"
#include "cpu/cpu_features.h"
#include "cpu/float_tiles.h"

namespace tandem::cpu {

#define TANDEM_DECLARE_LAUNCHERS(ns)         \
  namespace ns {                             \
  extern const LaunchFn launchers[kOpCount]; \
  }
TANDEM_DECLARE_LAUNCHERS(isa_scalar)
#ifdef TANDEM_HAVE_AVX2
TANDEM_DECLARE_LAUNCHERS(isa_avx2)
#endif
#ifdef TANDEM_HAVE_AVX512
TANDEM_DECLARE_LAUNCHERS(isa_avx512)
#endif
#undef TANDEM_DECLARE_LAUNCHERS

namespace {

constexpr InstructionSet kInstructionSets[] = {
#ifdef TANDEM_HAVE_AVX512
    {"avx512", &has_avx512, isa_avx512::launchers},
#endif
#ifdef TANDEM_HAVE_AVX2
    {"avx2", &has_avx2, isa_avx2::launchers},
#endif
    {"scalar", [] { return true; }, isa_scalar::launchers},
};

std::string known_names() {
  std::string names;
  for (const InstructionSet& set : kInstructionSets) {
    if (!names.empty()) names += ", ";
    names += set.name;
  }
  return names;
}

const InstructionSet& choose() {
  // What is not among its values is refused here, whatever the processor has.
  static_cast<void>(float_tiles());
  // Read once, by the first thread that needs a kernel. NOLINTNEXTLINE(concurrency-mt-unsafe)
  const char* variable = std::getenv("TANDEM_ISA");
  const std::string forced = variable == nullptr ? "" : variable;
  for (const InstructionSet& set : kInstructionSets) {
    if (!forced.empty()) {
      if (forced != set.name) continue;
      if (set.available()) return set;
      fail(ErrorCode::kDevice,
           std::string(
               "expected TANDEM_ISA to name an instruction set of this processor, received ") +
               forced);
    }
    if (set.available()) return set;
  }
  fail(ErrorCode::kDevice,
       "expected TANDEM_ISA to be one of " + known_names() + ", received " + forced);
}

}  // namespace

const InstructionSet& instruction_set() {
  static const InstructionSet& chosen = choose();
  return chosen;
}

std::vector<std::string> available_instruction_sets() {
  std::vector<std::string> names;
  for (const InstructionSet& set : kInstructionSets) {
    if (set.available()) names.emplace_back(set.name);
  }
  return names;
}

}  // namespace tandem::cpu
