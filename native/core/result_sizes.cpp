#include "core/result_sizes.h"

namespace tandem {
namespace {

ResultSize size_of(const Tensor& small, int64_t rows, const Tensor& large, int64_t more_rows) {
  const int64_t more = large.numel - small.numel;
  const int64_t per_row = more / (more_rows - rows);
  const ResultSize size{small.numel - per_row * rows, per_row};
  if (more < 0 || size.fixed < 0 || per_row * (more_rows - rows) != more) {
    fail(ErrorCode::kShape, "expected as many elements of a metric for each row, received shape " +
                                to_string(small) + " for " + std::to_string(rows) + " rows and " +
                                to_string(large) + " for " + std::to_string(more_rows));
  }
  return size;
}

}  // namespace

std::vector<ResultSize> measure_results(const GraphDescription& description) {
  // lib/graph/value.ts says the same of values
  const Graph small = instantiate(description, kSampleRows, true);
  const Graph large = instantiate(description, kMoreSampleRows, true);
  std::vector<ResultSize> sizes;
  for (size_t i = 0; i < small.outputs.size(); ++i) {
    const Tensor& output = small.tensor(small.outputs[i]);
    const ResultSize size =
        size_of(output, kSampleRows, large.tensor(large.outputs[i]), kMoreSampleRows);
    const bool one = size.fixed == 1 && size.per_row == 0 && output.dtype == DType::kFloat32;
    if (i == 0 && !one) {
      fail(ErrorCode::kShape,
           "expected one number as the loss, received shape " + to_string(output));
    }
    sizes.push_back(size);
  }
  return sizes;
}

void check_result(const ResultSize& size, const Tensor& output, int64_t rows) {
  if (output.numel == size.at(rows)) return;
  fail(ErrorCode::kShape, "expected " + std::to_string(size.at(rows)) +
                              " elements of a metric of " + std::to_string(rows) +
                              " rows, received shape " + to_string(output));
}

}  // namespace tandem
