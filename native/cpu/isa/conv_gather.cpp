// Pixels with what their taps read, gathered from planes as rows of vectors. For a row of taps it
// is worked out once which runs of lanes come from which places of a plane; all channels follow it.
#include "cpu/isa/conv.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

/// Runs of a vector: it crosses that many ends of output rows, and no more than it has lanes.
int64_t most_runs(const ConvGrid& grid) { return least(kLanes, kLanes / grid.out_columns + 2); }

/// The runs of one row of taps, for each tap and vector one after the other.
struct RunTable {
  GatherRun* runs;
  int32_t* counts;  // [tap][vector]
  int64_t vectors;
};

RunTable place_table(const ConvGrid& grid, int64_t pixels, void* memory) {
  RunTable table = {};
  table.vectors = ceil_div(pixels, kLanes);
  table.runs = static_cast<GatherRun*>(memory);
  table.counts = reinterpret_cast<int32_t*>(table.runs + grid.column_taps.count * table.vectors *
                                                             most_runs(grid));
  return table;
}

/// A tap: where it reads for pixel (0, 0), and the columns of pixels for which that is in a plane.
struct Tap {
  int64_t row, column;
  PixelRange within;
};

/// Appends the runs of a tap in the vector of `count` pixels that starts at (row, column).
GatherRun* add_runs(const ConvGrid& grid, const Tap& tap, int64_t row, int64_t column,
                    int64_t count, GatherRun* run) {
  for (int64_t lane = 0; lane < count; ++row, column = 0) {
    const int64_t length = least(count - lane, grid.out_columns - column);
    const int64_t from_row = row * grid.row_taps.stride + tap.row;
    const int64_t begin = most(column, tap.within.begin);
    const int64_t end = least(column + length, tap.within.end);
    if (from_row >= 0 && from_row < grid.rows && begin < end) {
      const int64_t from_column = (column - lane) * grid.column_taps.stride + tap.column;
      *run++ = {from_row * grid.columns + from_column,
                lane_range(lane + begin - column, lane + end - column)};
    }
    lane += length;
  }
  return run;
}

void fill_table(const ConvGrid& grid, int64_t row_tap, int64_t p0, int64_t pixels,
                const RunTable& table) {
  GatherRun* run = table.runs;
  int32_t* counts = table.counts;
  const int64_t first_row = p0 / grid.out_columns, first_column = p0 % grid.out_columns;
  for (int64_t i = 0; i < grid.column_taps.count; ++i) {
    const Tap tap = {grid.row_taps.first + row_tap * grid.row_taps.step,
                     grid.column_taps.first + i * grid.column_taps.step,
                     pixels_within(grid.column_taps, i, grid.columns, grid.out_columns)};
    int64_t row = first_row, column = first_column;
    for (int64_t v = 0; v < table.vectors; ++v) {
      const int64_t count = least(kLanes, pixels - v * kLanes);
      GatherRun* end = add_runs(grid, tap, row, column, count, run);
      *counts++ = static_cast<int32_t>(end - run);
      run = end;
      column += kLanes;
      if (column >= grid.out_columns) {
        row += column / grid.out_columns;
        column %= grid.out_columns;
      }
    }
  }
}

/// Whether all taps of these pixels read rows of the plane.
bool rows_are_inside(const ConvGrid& grid, int64_t p0, int64_t pixels) {
  const WindowTaps& taps = grid.row_taps;
  const int64_t first = p0 / grid.out_columns * taps.stride + taps.first;
  const int64_t last = (p0 + pixels - 1) / grid.out_columns * taps.stride + taps.first;
  const int64_t reach = (taps.count - 1) * taps.step;
  return least(first, first + reach) >= 0 && most(last, last + reach) < grid.rows;
}

/// The tables of one row of taps after the other. Where all rows are inside, one does for all, some
/// floats further on in the planes.
struct RowTables {
  const ConvGrid& grid;
  int64_t p0, pixels;
  RunTable table;
  bool inside;

  RowTables(const ConvGrid& of, int64_t first, int64_t count, void* memory)
      : grid(of),
        p0(first),
        pixels(count),
        table(place_table(of, count, memory)),
        inside(rows_are_inside(of, first, count)) {}

  /// Fills the table where the one before does not hold; how many floats further on it reads.
  int64_t move_to(int64_t row_tap) const {
    if (!inside || row_tap == 0) fill_table(grid, row_tap, p0, pixels, table);
    return inside ? row_tap * grid.row_taps.step * grid.columns : 0;
  }
};

template <bool strided>
TANDEM_INLINE Lanes load_run(const float* plane, const GatherRun& run, int64_t stride) {
  return strided ? load_strided(plane + run.offset, run.lanes, stride)
                 : load_lanes_of(plane + run.offset, run.lanes);
}

/// One channel's rows of one row of taps.
template <bool strided>
TANDEM_INLINE void gather_channel(const ConvGrid& grid, const RunTable& table, const float* plane,
                                  const GatherTarget& target) {
  const GatherRun* run = table.runs;
  const int32_t* counts = table.counts;
  const int64_t stride = grid.column_taps.stride;
  float* out = target.data;
  for (int64_t i = 0; i < grid.column_taps.count; ++i, out += target.row) {
    float* pair = out;
    for (int64_t v = 0; v < table.vectors; ++v) {
      Lanes x = spread(0.0F);
      for (int32_t n = *counts++; n > 0; --n, ++run)
        x = merge(x, load_run<strided>(plane, *run, stride));
      store(pair + v % 2 * kLanes, x);
      pair += v % 2 * target.pair;
    }
  }
}

void clear_rows(const GatherTarget& target, int64_t rows, int64_t n) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < n; j += kLanes) store(target.data + i * target.row + j, spread(0.0F));
}

}  // namespace

int64_t gather_table_bytes(const ConvGrid& grid, int64_t pixels) {
  const int64_t vectors = grid.column_taps.count * ceil_div(pixels, kLanes);
  const int64_t run_bytes = most_runs(grid) * static_cast<int64_t>(sizeof(GatherRun));
  return round_up(vectors * (run_bytes + static_cast<int64_t>(sizeof(int32_t))), 64);
}

void gather_pixels(const ConvGrid& grid, const float* planes, int64_t channels, int64_t p0,
                   int64_t pixels, const GatherTarget& target, void* memory) {
  const RowTables tables(grid, p0, pixels, memory);
  const RunTable& table = tables.table;
  const int64_t taps = grid.row_taps.count * grid.column_taps.count;
  for (int64_t row_tap = 0; row_tap < grid.row_taps.count; ++row_tap) {
    const float* plane = planes + tables.move_to(row_tap);
    GatherTarget to = target;
    to.data += row_tap * grid.column_taps.count * target.row;
    for (int64_t c = 0; c < channels; ++c) {
      if (grid.column_taps.stride == 1)
        gather_channel<false>(grid, table, plane, to);
      else
        gather_channel<true>(grid, table, plane, to);
      plane += grid.rows * grid.columns;
      to.data += taps * target.row;
    }
  }
}

int64_t gather_strip_floats(const ConvGrid& grid, int64_t pixels) {
  return 2 * grid.column_taps.count * round_up(pixels, kLanes);
}

void gather_words(const ConvGrid& grid, const float* planes, int64_t channels, int64_t p0,
                  int64_t pixels, const GatherTarget& target, const GemmRounding& rounding,
                  float* strip, void* memory) {
  const RowTables tables(grid, p0, pixels, memory);
  const RunTable& table = tables.table;
  const int64_t column_taps = grid.column_taps.count;
  const int64_t plane = grid.rows * grid.columns;
  const int64_t row = table.vectors * kLanes;
  const int64_t panels = pixels / kPanelColumns;
  const int64_t left = table.vectors * kLanes - panels * kPanelColumns;
  // Rows of both channels of a tap are neighbours.
  const GatherTarget first = {strip, 2 * row, kPanelColumns};
  const GatherTarget second = {strip + row, 2 * row, kPanelColumns};
  const auto gather = grid.column_taps.stride == 1 ? gather_channel<false> : gather_channel<true>;
  for (int64_t row_tap = 0; row_tap < grid.row_taps.count; ++row_tap) {
    const float* first_plane = planes + tables.move_to(row_tap);
    float* out = target.data + row_tap * column_taps * target.row;
    for (int64_t c = 0; c < channels; c += 2) {
      gather(grid, table, first_plane + c * plane, first);
      if (c + 1 < channels)
        gather(grid, table, first_plane + (c + 1) * plane, second);
      else
        clear_rows(second, column_taps, row);
      rounding.across_rows(strip, row, 2 * column_taps, column_taps, reinterpret_cast<char*>(out),
                           {panels, kPanelColumns, target.row * 4, target.pair * 4});
      if (left > 0)
        rounding.across_rows(strip + panels * kPanelColumns, row, 2 * column_taps, column_taps,
                             reinterpret_cast<char*>(out + panels * target.pair),
                             {1, left, target.row * 4, 0});
      out += grid.row_taps.count * column_taps * target.row;
    }
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
