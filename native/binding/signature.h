// What the arrays of a call of a predictor are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace tandem::binding {

/// Elements and type of each input, then of each output, at so many rows, and their places in the
/// staging block of a call.
struct Signature {
  struct Entry {
    int64_t elements;
    DType dtype;
    size_t offset;
  };
  int64_t rows = 0;
  std::vector<Entry> entries;
  size_t bytes = 0;  ///< of the staging block
};

}  // namespace tandem::binding
