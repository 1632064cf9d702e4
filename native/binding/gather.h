// Collecting the rows of a training call into staging memory.
#pragma once

#include <napi.h>

#include <string>
#include <vector>

#include "binding/arrays.h"
#include "binding/staging.h"
#include "core/model.h"

namespace tandem::binding {

/// How the arrays of one graph input are cut into steps.
struct InputRows {
  std::string name;
  DType dtype = DType::kFloat32;
  int64_t elements = 0;  ///< of one row, or of all of it
  bool whole = false;    ///< a fixed shape beside free ones: every step sees all of it
};

/// The rows of a graph's inputs. When no input has a free batch but all agree on axis 0, that is
/// the fixed number of rows of every step.
struct RowPlan {
  std::vector<InputRows> inputs;
  int64_t fixed_batch = 0;  ///< 0: steps may have any number of rows
};
RowPlan plan_rows(const GraphDescription& graph);

/// Inputs of consecutive steps, gathered: input `i` begins at `offsets[i]` bytes.
struct GatheredRows {
  Staging staging;
  std::vector<size_t> offsets;
};

/// Copies `rows` of each of `arrays` (one a graph input, typed arrays already). Everything is
/// checked before anything is copied. Throws ERR_SHAPE, ERR_DTYPE, ERR_ARGUMENT.
void gather_rows(const RowPlan& plan, const std::vector<ArrayView>& arrays,
                 const std::vector<uint32_t>& rows, GatheredRows& target);

/// A copy of a Uint32Array. Throws ERR_DTYPE for another type.
std::vector<uint32_t> copy_uint32_array(napi_env env, napi_value value, const char* name);

}  // namespace tandem::binding
