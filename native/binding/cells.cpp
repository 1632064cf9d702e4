// Lines of CSV files, for the threads that read them.
#include "core/cells.h"

#include <algorithm>
#include <limits>
#include <span>

#include "binding/arrays.h"
#include "binding/functions.h"
#include "binding/values.h"
#include "core/priority.h"

namespace tandem::binding {
namespace {

ArrayView view_exactly(napi_env env, napi_value value, napi_typedarray_type type,
                       const char* name) {
  const ArrayView view = view_array(env, value, [name] { return name; });
  if (view.type != type) {
    fail_expected(ErrorCode::kDType, type_name(type), name, type_name(view.type));
  }
  return view;
}

void check_length(size_t needed, size_t found, const std::string& name) {
  if (found >= needed) return;
  fail_expected(ErrorCode::kShape, std::to_string(needed) + " elements or more", name,
                std::to_string(found));
}

bool is_null(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  check(env, napi_typeof(env, value, &type));
  return type == napi_null;
}

CellColumn view_column(napi_env env, napi_value value, size_t capacity, const std::string& name) {
  if (is_null(env, value)) return {};
  const ArrayView view = view_array(env, value, [&name] { return name; });
  const bool numbers = view.type == napi_float64_array;
  if (!numbers && view.type != napi_int32_array) {
    fail_expected(ErrorCode::kDType, "a Float64Array or an Int32Array", name, type_name(view.type));
  }
  check_length(numbers ? capacity : 2 * capacity, view.length, name);
  if (numbers) return {.numbers = static_cast<double*>(view.data)};
  return {.spans = static_cast<int32_t*>(view.data)};
}

std::vector<std::string> read_texts(napi_env env, napi_value list, const char* name) {
  std::vector<std::string> texts;
  for (const napi_value element : list_elements(env, list, name)) {
    texts.push_back(read_string({env, element}, name));
  }
  return texts;
}

/// In front of the faults in the cursor of JavaScript, and of each fault.
constexpr size_t kPlaces = 4, kFaultPlaces = 6;

/// Reads on past faulty lines as long as there is room for what is wrong with them: telling where
/// columns are takes longer than many a line. Returns how many there were.
size_t read_past_faults(const CellTable& table, CellCursor& at, std::span<uint32_t> faults) {
  size_t found = 0;
  while (faults.size() >= kFaultPlaces) {
    tandem::read_cells(table, at);
    if (at.fault == LineFault::kNone) break;
    const size_t fault[kFaultPlaces] = {
        at.line, static_cast<size_t>(at.fault), at.cells, at.column, at.begin, at.end};
    std::ranges::transform(fault, faults.begin(),
                           [](size_t n) { return static_cast<uint32_t>(n); });
    faults = faults.subspan(kFaultPlaces);
    ++found;
  }
  return found;
}

}  // namespace

/// (bytes, delimiter, missing, columns, records, firstRecord, kept or null, cursor).
napi_value read_cells(const Call& call) {
  const napi_env env = call.env();
  const auto delimiter = static_cast<uint8_t>(read_integer({env, call[1]}, "delimiter", 1, 127));
  const std::vector<std::string> missing = read_texts(env, call[2], "missing");
  const double first_record = read_finite({env, call[5]}, "firstRecord");
  const std::vector<napi_value> elements = list_elements(env, call[3], "columns");
  if (elements.empty()) fail(ErrorCode::kArgument, "expected one column or more, received none");

  const ArrayView bytes = view_exactly(env, call[0], napi_uint8_array, "bytes");
  const ArrayView records = view_exactly(env, call[4], napi_float64_array, "records");
  const ArrayView cursor = view_exactly(env, call[7], napi_uint32_array, "cursor");
  check_length(kPlaces + kFaultPlaces, cursor.length, "cursor");
  if (bytes.length > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    fail_expected(ErrorCode::kShape, "less than 2 GiB", "bytes", std::to_string(bytes.length));
  }
  ArrayView kept;
  if (!is_null(env, call[6])) kept = view_exactly(env, call[6], napi_uint8_array, "kept");
  std::vector<CellColumn> columns;
  for (const napi_value element : elements) {
    std::string name = "columns[";
    name += std::to_string(columns.size());
    name += ']';
    columns.push_back(view_column(env, element, records.length, name));
  }
  auto* const places = static_cast<uint32_t*>(cursor.data);
  CellCursor at{.at = places[0], .line = places[1], .row = places[2]};
  const std::vector<std::string_view> texts(missing.begin(), missing.end());
  const CellTable table{.bytes = {static_cast<const uint8_t*>(bytes.data), bytes.length},
                        .delimiter = delimiter,
                        .missing = texts,
                        .columns = columns,
                        .kept = {static_cast<const uint8_t*>(kept.data), kept.length},
                        .records = static_cast<double*>(records.data),
                        .first_record = first_record,
                        .capacity = records.length};
  const std::span<uint32_t> all{places, cursor.length};
  const size_t faults = read_past_faults(table, at, all.subspan(kPlaces));
  const size_t results[kPlaces] = {at.at, at.line, at.row, faults};
  std::ranges::transform(results, places, [](size_t n) { return static_cast<uint32_t>(n); });
  return nullptr;
}

napi_value lower_priority(const Call& /*call*/) {
  lower_thread_priority();
  return nullptr;
}

}  // namespace tandem::binding
