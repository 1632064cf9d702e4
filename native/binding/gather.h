// Collecting the rows of a training call into staging memory.
#pragma once

#include <napi.h>

#include <optional>
#include <string>
#include <vector>

#include "binding/arrays.h"
#include "binding/staging.h"
#include "core/model.h"

namespace tandem::binding {

/// Integers that a graph input may hold: those in [low, high], and `ignored`.
struct IntegerRange {
  int32_t low = 0;
  int32_t high = 0;
  int32_t ignored = 0;
};

/// How the arrays of one graph input are cut into steps.
struct InputRows {
  std::string name;
  DType dtype = DType::kFloat32;
  int64_t elements = 0;  ///< of one row, or of all of it
  bool whole = false;    ///< a fixed shape beside free ones: every step sees all of it
  std::optional<IntegerRange> range;
};

/// The rows of a graph's inputs. When no input has a free batch but all agree on axis 0, that is
/// the fixed number of rows of every step.
struct RowPlan {
  std::vector<InputRows> inputs;
  int64_t fixed_batch = 0;  ///< 0: steps may have any number of rows
};
/// Of the first `count` inputs. `ranges`: none, or one for each. Throws ERR_ARGUMENT, ERR_DTYPE.
RowPlan plan_rows(const GraphDescription& graph, size_t count,
                  const std::vector<std::optional<IntegerRange>>& ranges);

/// Throws ERR_SHAPE unless `sizes` cuts so many rows into steps.
void check_sizes(const RowPlan& plan, const std::vector<uint32_t>& sizes, size_t rows);

/// The inputs of consecutive steps, copied to staging memory at once or slice by slice.
class GatheredRows {
 public:
  /// Takes memory for them; throws std::bad_alloc.
  GatheredRows(const RowPlan& plan, std::vector<uint32_t> rows, Staging staging);

  /// Goes on copying from `arrays` (one a graph input, typed arrays already) for so many bytes, if
  /// that many are left. Each slice is checked before and, for the ranges of integers, after it has
  /// been copied: JavaScript may write to the arrays in between, not to the copy. Throws ERR_SHAPE,
  /// ERR_DTYPE, ERR_ARGUMENT.
  void copy(const RowPlan& plan, const std::vector<ArrayView>& arrays, size_t bytes);
  /// Whether everything has been copied.
  [[nodiscard]] bool complete() const { return input_ == offsets_.size(); }

  [[nodiscard]] size_t inputs() const { return offsets_.size(); }
  [[nodiscard]] const std::byte* input(size_t i) const { return staging_.data() + offsets_[i]; }
  Staging take_staging() { return std::move(staging_); }

 private:
  void check(const RowPlan& plan, const std::vector<ArrayView>& arrays) const;
  void copy_elements_of(const InputRows& input, const ArrayView& array, size_t begin, size_t end);
  void check_range(const InputRows& input, size_t begin, size_t end) const;
  [[nodiscard]] size_t elements_of(const InputRows& input) const;

  std::vector<uint32_t> rows_;
  uint32_t last_row_ = 0;
  Staging staging_;
  std::vector<size_t> offsets_;  ///< of each input, in bytes
  size_t input_ = 0;             ///< the next to copy from
  size_t element_ = 0;           ///< its next
};

/// A copy of a Uint32Array. Throws ERR_DTYPE for another type.
std::vector<uint32_t> copy_uint32_array(napi_env env, napi_value value, const char* name);

/// Views of the elements of a list. Throws ERR_ARGUMENT.
std::vector<ArrayView> view_inputs(napi_env env, const std::vector<napi_value>& elements);

}  // namespace tandem::binding
