// Some rows of a plane with what padding adds around them, copied to scratch memory: every tap
// reads whole vectors there.
#pragma once

#include "cpu/isa/conv.h"

namespace tandem::cpu::TANDEM_ISA_NS {

struct PaddedRows {
  int64_t out_rows;             // that are computed from one copy
  int64_t rows, columns;        // of the copy
  int64_t low_row, low_column;  // position in the plane of its first element, for output (0, 0)
};

/// Room for `out_rows` rows of output; as many as `floats` hold, but one at least.
PaddedRows plan_rows(const ConvGrid& grid, int64_t floats);
TANDEM_INLINE int64_t row_bytes(const PaddedRows& rows) { return rows.rows * rows.columns * 4; }

/// Copies what rows of output from `first` on read.
void copy_rows(const ConvGrid& grid, const PaddedRows& rows, const float* plane, int64_t first,
               float* copy);

/// Asks for `n` floats that are read when the next plane's turn comes, which memory can bring while
/// this one is computed. Reads nothing: they need not exist.
TANDEM_INLINE void fetch_ahead(const float* p, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(p + i, 0, 2);
}

/// The same for floats that are written then.
TANDEM_INLINE void claim_ahead(const float* p, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(p + i, 1, 2);
}

/// What tap (i, j) reads for pixel 0 of the first row of output.
TANDEM_INLINE int64_t tap_offset(const ConvGrid& grid, const PaddedRows& rows, int64_t i,
                                 int64_t j) {
  const int64_t row = grid.row_taps.first + i * grid.row_taps.step - rows.low_row;
  const int64_t column = grid.column_taps.first + j * grid.column_taps.step - rows.low_column;
  return row * rows.columns + column;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
