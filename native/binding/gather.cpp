#include "binding/gather.h"

#include <algorithm>

#include "binding/errors.h"
#include "core/shape.h"

namespace tandem::binding {
namespace {

size_t bytes_of(const InputRows& input, size_t rows) {
  const int64_t count = input.whole ? 1 : static_cast<int64_t>(rows);
  return static_cast<size_t>(align_up(checked_mul(checked_mul(input.elements, count), 4)));
}

void check_array(const InputRows& input, const ArrayView& array, uint32_t last_row) {
  if (!converts_to(array, input.dtype)) fail_dtype(array, input.dtype, input.name);
  const auto elements = static_cast<uint64_t>(input.elements);
  if (input.whole || elements == 0) {
    if (array.length != elements) fail_length(input.elements, array.length, input.name);
    return;
  }
  if (array.length % elements != 0 || array.length == 0) {
    fail_expected(ErrorCode::kShape, "a multiple of " + std::to_string(elements) + " elements",
                  input.name, std::to_string(array.length));
  }
  if (last_row >= array.length / elements) {
    fail(ErrorCode::kArgument, "row index out of range: expected `rows` below " +
                                   std::to_string(array.length / elements) + " for `" + input.name +
                                   "`, received " + std::to_string(last_row));
  }
}

/// Neighbouring rows are copied together.
void gather_input(const InputRows& input, const ArrayView& array, const std::vector<uint32_t>& rows,
                  std::byte* target) {
  const auto elements = static_cast<size_t>(input.elements);
  for (size_t i = 0; i < rows.size();) {
    size_t run = 1;
    while (i + run < rows.size() && rows[i + run] == rows[i] + run) ++run;
    copy_elements(array, rows[i] * elements, run * elements, input.dtype, target + i * elements * 4,
                  input.name);
    i += run;
  }
}

}  // namespace

RowPlan plan_rows(const GraphDescription& graph) {
  const bool free = has_free_batch(graph);
  RowPlan plan;
  if (!free && !graph.inputs.empty() && !graph.inputs[0].shape.empty()) {
    const int64_t batch = graph.inputs[0].shape[0];
    const bool agreed = std::all_of(graph.inputs.begin(), graph.inputs.end(), [&](const auto& in) {
      return !in.shape.empty() && in.shape[0] == batch;
    });
    if (agreed) plan.fixed_batch = batch;
  }
  for (const InputDescription& input : graph.inputs) {
    const bool by_row = free && !input.shape.empty() && input.shape[0] == -1;
    const int64_t elements = row_elements(input);
    if (plan.fixed_batch > 0) {
      plan.inputs.push_back({input.name, input.dtype, elements / plan.fixed_batch, false});
    } else {
      plan.inputs.push_back({input.name, input.dtype, elements, !by_row});
    }
  }
  return plan;
}

void gather_rows(const RowPlan& plan, const std::vector<ArrayView>& arrays,
                 const std::vector<uint32_t>& rows, GatheredRows& target) {
  if (arrays.size() != plan.inputs.size()) {
    fail_expected(ErrorCode::kArgument, std::to_string(plan.inputs.size()) + " arrays", "inputs",
                  std::to_string(arrays.size()));
  }
  const uint32_t last_row = rows.empty() ? 0 : *std::max_element(rows.begin(), rows.end());
  size_t bytes = 0;
  target.offsets.clear();
  for (size_t i = 0; i < arrays.size(); ++i) {
    check_array(plan.inputs[i], arrays[i], last_row);
    target.offsets.push_back(bytes);
    bytes += bytes_of(plan.inputs[i], rows.size());
  }
  target.staging.resize(bytes);
  for (size_t i = 0; i < arrays.size(); ++i) {
    const InputRows& input = plan.inputs[i];
    std::byte* const place = target.staging.data() + target.offsets[i];
    if (input.whole) {
      copy_elements(arrays[i], 0, arrays[i].length, input.dtype, place, input.name);
    } else {
      gather_input(input, arrays[i], rows, place);
    }
  }
}

std::vector<uint32_t> copy_uint32_array(napi_env env, napi_value value, const char* name) {
  const ArrayView view = view_array(env, value, [&] { return name; });
  if (view.type != napi_uint32_array) {
    fail_expected(ErrorCode::kDType, "a Uint32Array", name, type_name(view.type));
  }
  const auto* data = static_cast<const uint32_t*>(view.data);
  return {data, data + view.length};
}

}  // namespace tandem::binding
