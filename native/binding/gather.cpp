#include "binding/gather.h"

#include <algorithm>
#include <span>

#include "binding/errors.h"
#include "core/input_block.h"

namespace tandem::binding {
namespace {

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

}  // namespace

RowPlan plan_rows(const GraphDescription& graph, size_t count,
                  const std::vector<std::optional<IntegerRange>>& ranges) {
  const bool free = has_free_batch(graph);
  const std::span<const InputDescription> inputs(graph.inputs.data(), count);
  RowPlan plan;
  if (!free && !inputs.empty() && !inputs[0].shape.empty()) {
    const int64_t batch = inputs[0].shape[0];
    const bool agreed = std::all_of(inputs.begin(), inputs.end(), [&](const auto& in) {
      return !in.shape.empty() && in.shape[0] == batch;
    });
    if (agreed) plan.fixed_batch = batch;
  }
  for (const InputDescription& input : inputs) {
    const bool by_row = free && !input.shape.empty() && input.shape[0] == -1;
    const int64_t elements = row_elements(input);
    if (plan.fixed_batch > 0) {
      plan.inputs.push_back({input.name, input.dtype, elements / plan.fixed_batch, false, {}});
    } else {
      plan.inputs.push_back({input.name, input.dtype, elements, !by_row, {}});
    }
  }
  if (ranges.empty()) return plan;
  if (ranges.size() != plan.inputs.size()) {
    fail_expected(ErrorCode::kArgument, std::to_string(plan.inputs.size()) + " entries, or none",
                  "ranges", std::to_string(ranges.size()));
  }
  for (size_t i = 0; i < ranges.size(); ++i) {
    if (ranges[i] && plan.inputs[i].dtype != DType::kInt32) {
      fail_expected(ErrorCode::kDType, "ranges of integer inputs only", "ranges",
                    "one for `" + plan.inputs[i].name + "`");
    }
    plan.inputs[i].range = ranges[i];
  }
  return plan;
}

void check_sizes(const RowPlan& plan, const std::vector<uint32_t>& sizes, size_t rows) {
  if (sizes.empty()) fail_expected(ErrorCode::kShape, "1 step or more", "sizes", "0");
  uint64_t sum = 0;
  for (const uint32_t size : sizes) {
    if (size == 0) fail_expected(ErrorCode::kShape, "1 row or more in each step", "sizes", "0");
    if (plan.fixed_batch > 0 && size != plan.fixed_batch) {
      fail_expected(ErrorCode::kShape,
                    "the graph's fixed batch of " + std::to_string(plan.fixed_batch) + " rows",
                    "sizes", std::to_string(size));
    }
    sum += size;
  }
  if (sum != rows) {
    fail_expected(ErrorCode::kShape, "as many rows as the sizes' sum of " + std::to_string(sum),
                  "rows", std::to_string(rows));
  }
}

GatheredRows::GatheredRows(const RowPlan& plan, std::vector<uint32_t> rows, Staging staging)
    : rows_(std::move(rows)),
      last_row_(rows_.empty() ? 0 : *std::max_element(rows_.begin(), rows_.end())),
      staging_(std::move(staging)) {
  int64_t bytes = 0;
  offsets_.reserve(plan.inputs.size());
  for (const InputRows& input : plan.inputs) {
    offsets_.push_back(static_cast<size_t>(bytes));
    const int64_t count = input.whole ? 1 : static_cast<int64_t>(rows_.size());
    const int64_t own = checked_mul(checked_mul(input.elements, count), 4);
    bytes = checked_add(bytes, align_input(own));
  }
  staging_.resize(static_cast<size_t>(bytes));
}

size_t GatheredRows::elements_of(const InputRows& input) const {
  return static_cast<size_t>(input.elements) * (input.whole ? 1 : rows_.size());
}

void GatheredRows::check(const RowPlan& plan, const std::vector<ArrayView>& arrays) const {
  if (arrays.size() != plan.inputs.size()) {
    fail_expected(ErrorCode::kArgument, std::to_string(plan.inputs.size()) + " arrays", "inputs",
                  std::to_string(arrays.size()));
  }
  for (size_t i = 0; i < arrays.size(); ++i) check_array(plan.inputs[i], arrays[i], last_row_);
}

void GatheredRows::copy(const RowPlan& plan, const std::vector<ArrayView>& arrays, size_t bytes) {
  check(plan, arrays);
  size_t left = bytes / 4;
  while (!complete()) {
    const InputRows& input = plan.inputs[input_];
    const size_t total = elements_of(input);
    const size_t end = element_ + std::min(left, total - element_);
    copy_elements_of(input, arrays[input_], element_, end);
    if (input.range) check_range(input, element_, end);
    left -= end - element_;
    element_ = end;
    if (element_ < total) return;
    ++input_;
    element_ = 0;
  }
}

/// Neighbouring rows are copied together.
void GatheredRows::copy_elements_of(const InputRows& input, const ArrayView& array, size_t begin,
                                    size_t end) {
  std::byte* const target = staging_.data() + offsets_[input_];
  if (input.whole) {
    copy_elements(array, begin, end - begin, input.dtype, target + begin * 4, input.name);
    return;
  }
  const auto elements = static_cast<size_t>(input.elements);
  for (size_t at = begin; at < end;) {
    const size_t row = at / elements;
    const size_t skipped = at % elements;
    size_t run = 1;
    while (row + run < rows_.size() && rows_[row + run] == rows_[row] + run &&
           run * elements - skipped < end - at) {
      ++run;
    }
    const size_t count = std::min(run * elements - skipped, end - at);
    copy_elements(array, rows_[row] * elements + skipped, count, input.dtype, target + at * 4,
                  input.name);
    at += count;
  }
}

void GatheredRows::check_range(const InputRows& input, size_t begin, size_t end) const {
  const IntegerRange range = *input.range;
  const auto* const values = reinterpret_cast<const int32_t*>(staging_.data() + offsets_[input_]);
  const auto outside = [range](int32_t value) {
    return ((value < range.low) | (value > range.high)) & (value != range.ignored);
  };
  // First without branches, which compilers vectorise.
  int any = 0;
  for (size_t i = begin; i < end; ++i) any |= static_cast<int>(outside(values[i]));
  if (any == 0) return;
  const int32_t* const found = std::find_if(values + begin, values + end, outside);
  const auto at = static_cast<size_t>(found - values);
  const size_t row = input.whole ? at : rows_[at / static_cast<size_t>(input.elements)];
  fail_expected(ErrorCode::kArgument,
                "integers from " + std::to_string(range.low) + " to " + std::to_string(range.high),
                input.name, std::to_string(*found) + " in row " + std::to_string(row));
}

std::vector<uint32_t> copy_uint32_array(napi_env env, napi_value value, const char* name) {
  const ArrayView view = view_array(env, value, [&] { return name; });
  if (view.type != napi_uint32_array) {
    fail_expected(ErrorCode::kDType, "a Uint32Array", name, type_name(view.type));
  }
  const auto* data = static_cast<const uint32_t*>(view.data);
  return {data, data + view.length};
}

std::vector<ArrayView> view_inputs(napi_env env, const std::vector<napi_value>& elements) {
  std::vector<ArrayView> arrays;
  arrays.reserve(elements.size());
  for (napi_value element : elements) {
    arrays.push_back(
        view_array(env, element, [&] { return "inputs[" + std::to_string(arrays.size()) + "]"; }));
  }
  return arrays;
}

}  // namespace tandem::binding
