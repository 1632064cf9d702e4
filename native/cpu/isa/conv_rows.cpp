#include "cpu/isa/conv_rows.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

int64_t lowest(const WindowTaps& taps) {
  return taps.first + least(0, (taps.count - 1) * taps.step);
}

int64_t reach(const WindowTaps& taps) {
  const int64_t step = taps.step < 0 ? -taps.step : taps.step;
  return (taps.count - 1) * step + 1;
}

}  // namespace

PaddedRows plan_rows(const ConvGrid& grid, int64_t floats) {
  PaddedRows p = {};
  p.low_row = lowest(grid.row_taps);
  p.low_column = lowest(grid.column_taps);
  const int64_t pixels = round_up(grid.out_columns, kLanes);
  p.columns = round_up((pixels - 1) * grid.column_taps.stride + reach(grid.column_taps), 16);
  const int64_t height = reach(grid.row_taps);
  const int64_t fit = (floats / p.columns - height) / grid.row_taps.stride + 1;
  p.out_rows = most(1, least(fit, grid.out_rows));
  p.rows = (p.out_rows - 1) * grid.row_taps.stride + height;
  return p;
}

bool rows_fit(const ConvGrid& grid) {
  constexpr int64_t kMostFloats = 1024 * 1024;
  return plan_rows(grid, 0).rows <= kMostFloats / plan_rows(grid, 0).columns;
}

void copy_rows(const ConvGrid& grid, const PaddedRows& rows, const float* plane, int64_t first,
               float* copy) {
  const int64_t begin = most(0, -rows.low_column);
  const int64_t end = most(begin, least(rows.columns, grid.columns - rows.low_column));
  for (int64_t r = 0; r < rows.rows; ++r, copy += rows.columns) {
    const int64_t row = first * grid.row_taps.stride + rows.low_row + r;
    if (row < 0 || row >= grid.rows || begin >= rows.columns) {
      std::memset(copy, 0, static_cast<size_t>(rows.columns) * sizeof(float));
      continue;
    }
    std::memset(copy, 0, static_cast<size_t>(begin) * sizeof(float));
    std::memcpy(copy + begin, plane + row * grid.columns + rows.low_column + begin,
                static_cast<size_t>(end - begin) * sizeof(float));
    std::memset(copy + end, 0, static_cast<size_t>(rows.columns - end) * sizeof(float));
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
