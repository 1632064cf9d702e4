// Cells of CSV lines: numbers against what the C library reads, texts, and what is wrong with
// lines.
#include "core/cells.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "check.h"
#include "core/text_number.h"

namespace {

using tandem::CellColumn;
using tandem::CellCursor;
using tandem::LineFault;

/// Lines of a number, a text and a cell that is passed over, as they are read.
struct Read {
  std::vector<double> numbers;
  std::vector<int32_t> spans;
  std::vector<double> records;
  CellCursor cursor;
};

struct How {
  size_t capacity = 8;
  std::vector<uint8_t> kept = {};
  std::vector<std::string_view> missing = {"NA", "null"};
  uint8_t delimiter = ',';
  CellCursor cursor = {};
};

constexpr double kUntouched = -12345.5;

/// The bytes lie in a block of their own, so that sanitizers see what is read beyond them.
Read read(const std::string& text, const How& how = {}) {
  const size_t capacity = how.capacity;
  const auto bytes = std::make_unique<uint8_t[]>(text.size());
  std::copy(text.begin(), text.end(), bytes.get());
  Read result{.numbers = std::vector<double>(capacity + 1, kUntouched),
              .spans = std::vector<int32_t>(2 * capacity + 1, -7),
              .records = std::vector<double>(capacity + 1, kUntouched),
              .cursor = how.cursor};
  const CellColumn columns[] = {
      {.numbers = result.numbers.data()}, {.spans = result.spans.data()}, {}};
  tandem::read_cells({.bytes = {bytes.get(), text.size()},
                      .delimiter = how.delimiter,
                      .missing = how.missing,
                      .columns = columns,
                      .kept = how.kept,
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

bool same_bits(double a, double b) { return std::memcmp(&a, &b, sizeof a) == 0; }

/// Whether a line's first cell is this number.
void check_number(const std::string& cell, double expected, const How& how = {}) {
  std::string text = cell;
  text.append({static_cast<char>(how.delimiter), 'a', static_cast<char>(how.delimiter), 'b'});
  const Read result = read(text, how);
  CHECK(result.cursor.row == 1);
  CHECK(std::isnan(expected) ? std::isnan(result.numbers[0])
                             : same_bits(result.numbers[0], expected));
}

}  // namespace

TEST(cells_of_plain_lines) {
  const std::string text = "1,a,x\n\r\n-2.50,b c,\r\n\n,,\nNA,\xc3\xa4,z";
  const Read result = read(text);
  CHECK(result.cursor.row == 4);
  CHECK(result.cursor.line == 4);
  CHECK(result.cursor.at == text.size());
  CHECK(result.cursor.fault == LineFault::kNone);
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

TEST(cells_in_quotes) {
  const std::string text =
      "\"1\",\"a \"\"b\"\"\",x\r\n\"-2.5\",\"c\r\n,d\",\"\n\"\r\n\"\",\"\",\"\"\n\" 7 \",\"\"\"\",";
  const Read result = read(text);
  CHECK(result.cursor.row == 4);
  CHECK(result.cursor.at == text.size());
  CHECK(result.numbers[0] == 1);
  CHECK(result.numbers[1] == -2.5);
  CHECK(std::isnan(result.numbers[2]));
  CHECK(result.numbers[3] == 7);
  CHECK(span_of(result, text, 0) == "\"a \"\"b\"\"\"");
  CHECK(span_of(result, text, 1) == "\"c\r\n,d\"");
  CHECK(span_of(result, text, 2) == "\"\"");
  CHECK(span_of(result, text, 3) == "\"\"\"\"");
  const Read some = read(text, {.kept = {0, 0, 1, 1}});
  CHECK(some.cursor.row == 2);
  CHECK(some.records[0] == 4);
  CHECK(some.numbers[1] == 7);
}

TEST(cells_of_a_line_with_a_fault) {
  const struct {
    const char* line;
    LineFault fault;
    size_t cells, column;
    const char* cell;
  } cases[] = {
      {"x,a,b", LineFault::kNumber, 3, 0, "x"},
      {"0x1,a,b", LineFault::kNumber, 3, 0, "0x1"},
      {"inf,a,b", LineFault::kNumber, 3, 0, "inf"},
      {"nan,a,b", LineFault::kNumber, 3, 0, "nan"},
      {"-,a,b", LineFault::kNumber, 3, 0, "-"},
      {".,a,b", LineFault::kNumber, 3, 0, "."},
      {"1e,a,b", LineFault::kNumber, 3, 0, "1e"},
      {"1e+,a,b", LineFault::kNumber, 3, 0, "1e+"},
      {"e1,a,b", LineFault::kNumber, 3, 0, "e1"},
      {"+-1,a,b", LineFault::kNumber, 3, 0, "+-1"},
      {"- 1,a,b", LineFault::kNumber, 3, 0, "- 1"},
      {"1_0,a,b", LineFault::kNumber, 3, 0, "1_0"},
      {"1f,a,b", LineFault::kNumber, 3, 0, "1f"},
      {"\"1\"\"\",a,b", LineFault::kNumber, 3, 0, "\"1\"\"\""},
      {"warm,\xff", LineFault::kNumber, 2, 0, "warm"},
      {"1,a", LineFault::kCells, 2, 1, "a"},
      {"1,a,b,\"c\nd\"", LineFault::kCells, 4, 2, "b"},
      {"1", LineFault::kCells, 1, 0, "1"},
      {"1,\xff", LineFault::kEncoding, 2, 1, "\xff"},
      {"1,\"a\xc3\",b\xff", LineFault::kEncoding, 3, 1, "\"a\xc3\""},
  };
  for (const auto& expected : cases) {
    for (const char* end : {"\n", "\r\n", ""}) {
      const std::string first = "1,a,b\n";
      const std::string bad = std::string(expected.line).append(end);
      std::string text = first + bad;
      if (end[0] != '\0') text += first;
      const Read result = read(text);
      const CellCursor& cursor = result.cursor;
      CHECK(cursor.at == first.size() + bad.size());
      CHECK(cursor.line == 2);
      CHECK(cursor.row == 1);
      CHECK(cursor.fault == expected.fault);
      CHECK(cursor.cells == expected.cells);
      CHECK(cursor.column == expected.column);
      CHECK(text.substr(cursor.begin, cursor.end - cursor.begin) == expected.cell);
      const Read rest = read(text, {.cursor = cursor});
      CHECK(rest.cursor.at == text.size());
      CHECK(rest.cursor.fault == LineFault::kNone);
      CHECK(rest.cursor.row == (end[0] == '\0' ? 1 : 2));
    }
  }
}

TEST(cells_with_quotes_where_none_belong_come_to_an_end) {
  for (const char* text :
       {"\"", "1,\"", "\"\"\"", "1,\"a\n", "1,\"a\"b,c\"", "\"1\"2,a,b\n\"", "\r", "1,a,\"b\"\""}) {
    CellCursor cursor;
    while (cursor.at < std::strlen(text)) {
      const size_t before = cursor.at;
      cursor = read(text, {.cursor = cursor}).cursor;
      CHECK(cursor.at > before);
      if (cursor.at <= before) break;
    }
  }
}

TEST(cells_end_with_the_capacity_and_with_the_lines_to_keep) {
  const std::string line = "1,a,b\n";
  const std::string text = line + line + line + line;
  CHECK(read(text, {.capacity = 3}).cursor.at == 3 * line.size());
  const Read result = read("x\n" + text, {.kept = {0, 1, 0, 1}});
  CHECK(result.cursor.at == 2 + 3 * line.size());
  CHECK(result.cursor.line == 4);
  CHECK(result.cursor.row == 2);
  CHECK(result.records[0] == 3);
  CHECK(result.records[1] == 5);
}

TEST(cells_are_the_numbers_that_are_written) {
  const struct {
    std::ios::fmtflags form;
    int precision;
  } forms[] = {{std::ios::fixed, 0},      {std::ios::fixed, 3},
               {std::ios::fixed, 15},     {{}, 17},
               {std::ios::scientific, 6}, {{}, 6}};
  std::mt19937_64 random(3);
  for (size_t i = 0; i < 20000; ++i) {
    const double scale = std::pow(10.0, static_cast<double>(random() % 40) - 20);
    const double value = (static_cast<double>(random() >> 11) * 0x1p-52 - 1) * scale;
    const auto& form = forms[i % std::size(forms)];
    std::ostringstream text;
    text.setf(form.form, std::ios::floatfield);
    text.precision(form.precision);
    text << value;
    check_number(text.str(), std::strtod(text.str().c_str(), nullptr));
  }
}

TEST(cells_of_numbers_that_are_written_in_unusual_ways) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::string zeros(400, '0');
  const struct {
    std::string cell;
    double number;
  } cases[] = {{" 1 ", 1},
               {"+1", 1},
               {"-0", -0.0},
               {"\t-.5e+1\t", -5},
               {"5.", 5},
               {"1\r", 1},
               {"\xc2\xa0"
                "1\xe3\x80\x80",
                1},
               {"\xef\xbb\xbf"
                "1",
                1},
               {"Infinity", kInfinity},
               {"-Infinity", -kInfinity},
               {" +Infinity", kInfinity},
               {"1e999", kInfinity},
               {"-1e999", -kInfinity},
               {"1E-999", 0},
               {"-1e-999", -0.0},
               {"1e-320", 1e-320},
               {"1e99999999999999999999", kInfinity},
               {"1e-99999999999999999999", 0},
               {"0e99999999999999999999", 0},
               {"1" + zeros, kInfinity},
               {"1" + zeros + "e-400", 1},
               {"." + zeros + "1e401", 1},
               {"0." + zeros + "25e+400", 0.25},
               {"12345678901234567890", 12345678901234567890.0},
               {"\" +2e0\n\"", 2},
               {" ", std::nan("")},
               {"\"\xc2\xa0\"", std::nan("")},
               {" NA\t", std::nan("")}};
  for (const auto& [cell, number] : cases) check_number(cell, number);
}

TEST(cells_of_numbers_that_stand_for_missing_ones) {
  const How how{.missing = {"-999", "say \"x\"", "two\nlines"}};
  for (const char* cell : {"-999", " -999", "\"-999\"", "\"say \"\"x\"\"\"", "\"two\nlines\""})
    check_number(cell, std::nan(""), how);
  check_number("-999.0", -999, how);
  check_number("999", 999, how);
  const How infinite{.missing = {"Infinity"}};
  check_number("Infinity", std::nan(""), infinite);
  check_number("-Infinity", -std::numeric_limits<double>::infinity(), infinite);
}

TEST(cells_between_delimiters_that_numbers_have) {
  for (const char delimiter : {'-', '.', '1', 'e', '+', ' '}) {
    const How how{.delimiter = static_cast<uint8_t>(delimiter)};
    check_number("2", 2, how);
    check_number("", std::nan(""), how);
  }
  check_number("\"1.5\"", 1.5, {.delimiter = '.'});
}

TEST(utf8_is_what_encodes_a_code_point_in_the_shortest_way) {
  const auto encode = [](uint32_t code) {
    const auto tail = [code](int shift) {
      return static_cast<char>(0x80 | (code >> shift & 0x3f));
    };
    if (code < 0x80) return std::string{static_cast<char>(code)};
    if (code < 0x800) return std::string{static_cast<char>(0xc0 | code >> 6), tail(0)};
    if (code < 0x10000) return std::string{static_cast<char>(0xe0 | code >> 12), tail(6), tail(0)};
    return std::string{static_cast<char>(0xf0 | code >> 18), tail(12), tail(6), tail(0)};
  };
  const auto surrogate = [](uint32_t code) { return code >= 0xd800 && code <= 0xdfff; };
  for (uint32_t code = 0; code <= 0x110100; code += 1 + code / 0x3000 % 3) {
    const std::string text = encode(code);
    CHECK(tandem::is_utf8(text) == (!surrogate(code) && code <= 0x10ffff));
    CHECK(text.size() == 1 || !tandem::is_utf8(text.substr(1)));
    CHECK(text.size() == 1 || !tandem::is_utf8(std::string_view(text).substr(0, text.size() - 1)));
  }
  const unsigned edges[] = {0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
  for (unsigned first = 0xc0; first <= 0xff; ++first) {
    for (const unsigned second : edges) {
      for (const unsigned third : edges) {
        for (const unsigned fourth : edges) {
          const size_t size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
          const unsigned bytes[] = {first, second, third, fourth};
          uint32_t code = first & (0x7fU >> size);
          std::string text;
          for (size_t i = 0; i < size; ++i) {
            text += static_cast<char>(bytes[i]);
            if (i > 0) code = code << 6 | (bytes[i] & 0x3f);
          }
          const bool valid = code <= 0x10ffff && !surrogate(code) && encode(code) == text;
          CHECK(tandem::is_utf8("a" + text + "b") == valid);
        }
      }
    }
  }
}
