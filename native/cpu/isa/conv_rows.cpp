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
  const int64_t last = rows.columns - kLanes;
  const auto lanes_at = [&](int64_t i) {
    const int64_t column = rows.low_column + i;
    const int64_t from = least(kLanes, most(0, -column));
    return lane_range(from, most(from, least(kLanes, grid.columns - column)));
  };
  // Vectors [whole, partial) of a row lie within the plane.
  int64_t whole = 0;
  while (whole <= last && lanes_at(whole) != kAllLanes) whole += kLanes;
  int64_t partial = whole;
  while (partial <= last && lanes_at(partial) == kAllLanes) partial += kLanes;
  for (int64_t r = 0; r < rows.rows; ++r, copy += rows.columns) {
    const int64_t row = first * grid.row_taps.stride + rows.low_row + r;
    const bool inside = row >= 0 && row < grid.rows;
    const float* x = plane + row * grid.columns + rows.low_column;
    const auto copy_some = [&](int64_t i) {
      const uint32_t lanes = lanes_at(i);
      store(copy + i, lanes != 0 ? load_lanes_of(x + i, lanes) : spread(0.0F));
    };
    if (!inside) {
      for (int64_t i = 0; i <= last; i += kLanes) store(copy + i, spread(0.0F));
      continue;
    }
    for (int64_t i = 0; i < whole; i += kLanes) copy_some(i);
    for (int64_t i = whole; i < partial; i += kLanes) store(copy + i, load_lanes(x + i));
    for (int64_t i = partial; i <= last; i += kLanes) copy_some(i);
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
