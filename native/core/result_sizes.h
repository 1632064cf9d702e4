// How many numbers the outputs of a training graph have: whoever reads them, one after the other,
// knows where each begins for any number of rows.
#pragma once

#include <cstdint>
#include <vector>

#include "core/model.h"

namespace tandem {

/// Elements of an output: some whatever the batch, and others with each row.
struct ResultSize {
  int64_t fixed = 0;
  int64_t per_row = 0;

  [[nodiscard]] int64_t at(int64_t rows) const {
    return checked_add(fixed, checked_mul(per_row, rows));
  }
};

/// Of each output. Throws ERR_SHAPE for one of which this cannot be said, and for a loss, output 0,
/// that is not one number.
std::vector<ResultSize> measure_results(const GraphDescription& description);

/// Throws ERR_SHAPE for an output that has another size at so many rows: one that is cut at some
/// row, of a batch that is shorter than that.
void check_result(const ResultSize& size, const Tensor& output, int64_t rows);

}  // namespace tandem
