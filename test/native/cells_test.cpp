// Cells of CSV lines against what the C library reads, and what is left to JavaScript.
#include "core/cells.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "check.h"

namespace {

using tandem::CellColumn;
using tandem::CellCursor;

/// Lines of a number, a text and a cell that is passed over, as they are read.
struct Read {
  std::vector<double> numbers;
  std::vector<int32_t> spans;
  std::vector<double> records;
  CellCursor cursor;
};

constexpr double kUntouched = -12345.5;

/// The bytes lie in a block of their own, so that sanitizers see what is read beyond them.
Read read(const std::string& text, size_t capacity = 8, const std::vector<uint8_t>& kept = {}) {
  const auto bytes = std::make_unique<uint8_t[]>(text.size());
  std::copy(text.begin(), text.end(), bytes.get());
  Read result{.numbers = std::vector<double>(capacity + 1, kUntouched),
              .spans = std::vector<int32_t>(2 * capacity + 1, -7),
              .records = std::vector<double>(capacity + 1, kUntouched),
              .cursor = {}};
  const CellColumn columns[] = {
      {.numbers = result.numbers.data()}, {.spans = result.spans.data()}, {}};
  const std::string_view missing[] = {"NA", "null"};
  tandem::read_cells({.bytes = {bytes.get(), text.size()},
                      .delimiter = ',',
                      .missing = missing,
                      .columns = columns,
                      .kept = kept,
                      .records = result.records.data(),
                      .first_record = 2,
                      .capacity = capacity},
                     result.cursor);
  CHECK(result.numbers[capacity] == kUntouched);
  CHECK(result.records[capacity] == kUntouched);
  CHECK(result.spans[2 * capacity] == -7);
  return result;
}

std::string span_of(const Read& result, const std::string& text, size_t row) {
  const auto begin = static_cast<size_t>(result.spans[2 * row]);
  return text.substr(begin, static_cast<size_t>(result.spans[2 * row + 1]) - begin);
}

std::string written(double value, int how) {
  char text[64];
  switch (how) {
    case 0:
      std::snprintf(text, sizeof text, "%.0f", value);
      break;
    case 1:
      std::snprintf(text, sizeof text, "%.3f", value);
      break;
    case 2:
      std::snprintf(text, sizeof text, "%.15f", value);
      break;
    case 3:
      std::snprintf(text, sizeof text, "%.17g", value);
      break;
    case 4:
      std::snprintf(text, sizeof text, "%.6e", value);
      break;
    default:
      std::snprintf(text, sizeof text, "%g", value);
  }
  return text;
}

}  // namespace

TEST(cells_of_plain_lines) {
  const std::string text = "1,a,x\n\r\n-2.50,b c,\r\n\n,,\nNA,\xc3\xa4,z";
  const Read result = read(text);
  CHECK(result.cursor.row == 4);
  CHECK(result.cursor.line == 4);
  CHECK(result.cursor.at == text.size());
  CHECK(result.numbers[0] == 1);
  CHECK(result.numbers[1] == -2.5);
  CHECK(std::isnan(result.numbers[2]));
  CHECK(std::isnan(result.numbers[3]));
  CHECK(span_of(result, text, 0) == "a");
  CHECK(span_of(result, text, 1) == "b c");
  CHECK(span_of(result, text, 2).empty());
  CHECK(span_of(result, text, 3) == "\xc3\xa4");
  CHECK(result.records[3] == 5);
}

TEST(cells_end_before_a_line_that_is_not_plain) {
  for (const char* line :
       {"x,a,b\n", "1,a\n", "1,a,b,c\n", "1\n", "+1,a,b\n", " 1,a,b\n", "0x1,a,b\n", "inf,a,b\n",
        "-,a,b\n", "1e,a,b\n", "1e999,a,b\n", "nan,a,b\n", "1\r,a,b\n"}) {
    const std::string first = "1,a,b\n";
    std::string text = first;
    text.append(line).append(first);
    const Read result = read(text);
    CHECK(result.cursor.at == first.size());
    CHECK(result.cursor.line == 1);
    CHECK(result.cursor.row == 1);
  }
}

TEST(cells_end_with_the_capacity_and_with_the_lines_to_keep) {
  const std::string line = "1,a,b\n";
  const std::string text = line + line + line + line;
  CHECK(read(text, 3).cursor.at == 3 * line.size());
  const Read result = read("x\n" + text, 8, {0, 1, 0, 1});
  CHECK(result.cursor.at == 2 + 3 * line.size());
  CHECK(result.cursor.line == 4);
  CHECK(result.cursor.row == 2);
  CHECK(result.records[0] == 3);
  CHECK(result.records[1] == 5);
}

TEST(cells_are_the_numbers_that_are_written) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 20000; ++i) {
    const double scale = std::pow(10.0, static_cast<double>(random() % 40) - 20);
    const double value = (static_cast<double>(random() >> 11) * 0x1p-52 - 1) * scale;
    const std::string text = written(value, i % 6);
    const Read result = read(text + ",a,b\n", 1);
#ifndef __cpp_lib_to_chars
    if (result.cursor.row == 0) continue;  // left to JavaScript
#endif
    CHECK(result.cursor.row == 1);
    const double expected = std::strtod(text.c_str(), nullptr);
    CHECK(std::memcmp(result.numbers.data(), &expected, sizeof expected) == 0);
  }
}
