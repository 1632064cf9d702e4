// Cells of lines as most CSV files have them -> numbers, and where texts are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace tandem {

/// What becomes of a column's cells: numbers, one a row; where texts begin and end, two a row; or,
/// where both are null, nothing.
struct CellColumn {
  double* numbers = nullptr;
  int32_t* spans = nullptr;
};

/// Lines without quotes, and the columns that take their cells.
struct CellTable {
  std::span<const uint8_t> bytes;  ///< less than 2 GiB; its end also ends a line
  uint8_t delimiter = ',';
  std::span<const std::string_view> missing;  ///< cells that stand for no number
  std::span<const CellColumn> columns;        ///< each with room for `capacity` rows
  std::span<const uint8_t> kept;  ///< by line: 0 where it is left out; none: all are kept
  double* records = nullptr;      ///< of each row its line's number
  double first_record = 0;        ///< number of line 0
  size_t capacity = 0;
};

struct CellCursor {
  size_t at = 0;    ///< where the next line begins
  size_t line = 0;  ///< lines before it, empty ones not counted
  size_t row = 0;   ///< rows that columns have
};

/// Reads lines up to the end, the capacity, the end of `kept`, or a line that has something else
/// than as many cells as there are columns, with numbers where these are wanted: `cursor` is then
/// before it. Numbers are what JavaScript's Number() makes of them; NaN are empty and missing
/// cells.
void read_cells(const CellTable& table, CellCursor& cursor) noexcept;

}  // namespace tandem
