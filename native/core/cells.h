// Cells of lines -> numbers, and where texts are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace tandem {

/// What becomes of a column's cells: numbers, one a row; where texts begin and end with the quotes
/// round them, two a row; or, where both are null, nothing.
struct CellColumn {
  double* numbers = nullptr;
  int32_t* spans = nullptr;
};

/// Lines, with no quotes but those round cells and doubled ones in these, and the columns that take
/// their cells.
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

/// What keeps a line from being a row.
enum class LineFault : uint8_t {
  kNone,
  kCells,     ///< it has more or fewer cells than there are columns
  kNumber,    ///< one is no number where one is wanted
  kEncoding,  ///< one of texts is not UTF-8
};

struct CellCursor {
  size_t at = 0;                       ///< where the next line begins
  size_t line = 0;                     ///< lines before it, empty ones not counted
  size_t row = 0;                      ///< rows that columns have
  LineFault fault = LineFault::kNone;  ///< of the line before `at`
  size_t cells = 0;                    ///< of that line
  size_t column = 0;                   ///< of its bad cell,
  size_t begin = 0;                    ///< which begins here
  size_t end = 0;                      ///< and ends here
};

/// Reads lines up to the end, the capacity, the end of `kept`, or one with a fault: `cursor` is
/// then behind it. Numbers are what JavaScript's Number() makes of cells without the blanks round
/// them, and decimal; NaN are empty and missing cells.
void read_cells(const CellTable& table, CellCursor& cursor);

}  // namespace tandem
