// Where a NaN or an infinity comes from.
#pragma once

#include <string>
#include <vector>

#include "core/model.h"
#include "core/precision.h"
#include "core/step_state.h"

namespace tandem {

struct NonFiniteSearch {
  const GraphDescription& description;
  const ParameterLayout& layout;
  const Backend& backend;
  std::byte* parameters;  ///< memory of the backend
  Precision precision;
  int threads;
  const std::vector<int32_t>& group_of;  ///< as in UpdateOptions
};

/// Runs a training step of `batch` rows once more, op by op without fusion and without the update,
/// and says in words which input, parameter or op is the first that holds a NaN or an infinity, in
/// order of execution; empty where none does, as when only the fused form overflows. Takes memory
/// for all values at once, and throws ERR_OUT_OF_MEMORY where there is none.
std::string find_non_finite(const NonFiniteSearch& search, int64_t batch,
                            const std::vector<const void*>& inputs, StepState state);

}  // namespace tandem
