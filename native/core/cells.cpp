#include "core/cells.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <string>

#include "core/text_number.h"

namespace tandem {
namespace {

constexpr uint8_t kNewline = '\n';
constexpr uint8_t kReturn = '\r';
constexpr uint8_t kQuote = '"';

/// Up to 15 digits and a power of ten are exact, so that one division rounds once: Clinger, "How to
/// Read Floating Point Numbers Accurately" (1990).
constexpr size_t kExactDigits = 15;
constexpr double kPowers[kExactDigits + 1] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                              1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

const uint8_t* find(const uint8_t* begin, const uint8_t* end, uint8_t byte) {
  const void* const found =
      begin == end ? nullptr : std::memchr(begin, byte, static_cast<size_t>(end - begin));
  return found == nullptr ? end : static_cast<const uint8_t*>(found);
}

bool is_number(std::string_view text) { return to_number(text).has_value(); }

/// What stands between quotes whose doubled ones are single ones.
std::string undoubled(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    result += text[i];
    if (text[i] == '"') ++i;
  }
  return result;
}

/// Reads one line after another; `at_` is where the next cell begins or, behind a cell, the
/// delimiter or the line's end that follows.
class LineReader {
 public:
  explicit LineReader(const CellTable& table)
      : table_(table),
        begin_(table.bytes.data()),
        end_(begin_ + table.bytes.size()),
        at_(begin_),
        plain_(!std::ranges::any_of(table.missing, is_number) &&
               std::strchr("-.0123456789", table.delimiter) == nullptr) {}

  void start(size_t at) { at_ = begin_ + at; }
  [[nodiscard]] size_t position() const { return place(at_); }
  [[nodiscard]] bool at_end() const { return ends_line(at_); }

  /// Passes the line's end, where `at_` is.
  void next_line() {
    at_ = find(at_, end_, kNewline);
    if (at_ != end_) ++at_;
  }

  /// Passes the line up to its end, from its beginning.
  void pass_line() {
    const uint8_t* const newline = find(at_, end_, kNewline);
    if (find(at_, newline, kQuote) == newline) {
      at_ = newline;
    } else {
      (void)pass_cells();
    }
  }

  /// Reads the line into the cursor's row, or says there what is wrong with it.
  void read(CellCursor& cursor) {
    const uint8_t* const line = at_;
    const size_t last = table_.columns.size() - 1;
    for (size_t i = 0; i <= last; ++i) {
      const uint8_t* const cell = at_;
      LineFault fault = read_cell(table_.columns[i], cursor.row);
      const bool ended = at_end();
      if (fault == LineFault::kNone && ended != (i == last)) fault = LineFault::kCells;
      if (fault != LineFault::kNone) {
        cursor.fault = fault;
        cursor.column = i;
        cursor.begin = place(cell);
        cursor.end = position();
        at_ = line;
        cursor.cells = pass_cells();
        return;
      }
      if (!ended) ++at_;
    }
  }

 private:
  [[nodiscard]] size_t place(const uint8_t* at) const { return static_cast<size_t>(at - begin_); }
  [[nodiscard]] uint8_t byte(const uint8_t* at) const { return at < end_ ? *at : kNewline; }
  [[nodiscard]] bool ends_line(const uint8_t* at) const {
    const uint8_t found = byte(at);
    return found == kNewline || (found == kReturn && byte(at + 1) == kNewline);
  }
  [[nodiscard]] std::string_view since(const uint8_t* cell) const {
    return {reinterpret_cast<const char*>(cell), static_cast<size_t>(at_ - cell)};
  }

  void pass_cell() {
    const uint8_t* const cell = at_;
    if (byte(cell) == kQuote) at_ = behind_quotes(cell);
    while (at_ < end_ && *at_ != table_.delimiter && *at_ != kNewline) ++at_;
    if (at_ > cell && byte(at_) == kNewline && at_[-1] == kReturn) --at_;
  }

  [[nodiscard]] const uint8_t* behind_quotes(const uint8_t* cell) const {
    const uint8_t* at = find(cell + 1, end_, kQuote);
    while (at != end_ && byte(at + 1) == kQuote) at = find(at + 2, end_, kQuote);
    return at == end_ ? at : at + 1;
  }

  /// Passes the line's cells; returns how many.
  size_t pass_cells() {
    for (size_t count = 1;; ++count) {
      pass_cell();
      if (at_end()) return count;
      ++at_;
    }
  }

  LineFault read_cell(const CellColumn& column, size_t row) {
    const uint8_t* const cell = at_;
    if (column.numbers != nullptr) {
      return read_number(column.numbers[row]) ? LineFault::kNone : LineFault::kNumber;
    }
    pass_cell();
    if (column.spans == nullptr) return LineFault::kNone;
    column.spans[2 * row] = static_cast<int32_t>(place(cell));
    column.spans[2 * row + 1] = static_cast<int32_t>(place(at_));
    return is_utf8(since(cell)) ? LineFault::kNone : LineFault::kEncoding;
  }

  /// Adds digits to `mantissa`; returns how many.
  size_t digits(uint64_t& mantissa) {
    const uint8_t* const first = at_;
    for (; at_ < end_; ++at_) {
      const auto digit = static_cast<uint8_t>(*at_ - '0');
      if (digit > 9) break;
      mantissa = mantissa * 10 + digit;
    }
    return static_cast<size_t>(at_ - first);
  }

  bool read_number(double& result) {
    const uint8_t* const cell = at_;
    const bool quoted = byte(at_) == kQuote;
    if (quoted) ++at_;
    const bool negative = byte(at_) == '-';
    if (negative) ++at_;
    uint64_t mantissa = 0;
    size_t count = digits(mantissa);
    size_t decimals = 0;
    if (byte(at_) == '.') {
      ++at_;
      decimals = digits(mantissa);
      count += decimals;
    }
    const bool closed = !quoted || byte(at_) == kQuote;
    if (quoted && closed) ++at_;
    const bool ended = closed && (byte(at_) == table_.delimiter || at_end());
    if (ended && at_ == cell) {
      result = kMissing;
      return true;
    }
    if (!plain_ || !ended || count == 0 || count > kExactDigits) {
      at_ = cell;
      return read_unusual(result);
    }
    const double value = static_cast<double>(mantissa) / kPowers[decimals];
    result = negative ? -value : value;
    return true;
  }

  /// A missing number, or one that is written in another way.
  bool read_unusual(double& result) {
    const uint8_t* const cell = at_;
    pass_cell();
    std::string_view text = since(cell);
    if (!text.starts_with('"')) return convert(text, result);
    text.remove_prefix(1);
    if (text.ends_with('"')) text.remove_suffix(1);
    return convert(undoubled(text), result);
  }

  bool convert(std::string_view cell, double& result) {
    std::optional<double> number = plain_ ? to_number(cell) : std::nullopt;
    if (!number) {
      const std::string_view text = trim(cell);
      const bool missing =
          text.empty() || std::ranges::find(table_.missing, text) != table_.missing.end();
      number = missing ? kMissing : to_number(text);
    }
    if (number) result = *number;
    return number.has_value();
  }

  const CellTable& table_;
  const uint8_t* begin_;
  const uint8_t* end_;
  const uint8_t* at_;
  bool plain_;  ///< numbers mean what they are: none of them stands for nothing or has a delimiter
};

}  // namespace

void read_cells(const CellTable& table, CellCursor& cursor) {
  const size_t lines = table.kept.empty() ? std::numeric_limits<size_t>::max() : table.kept.size();
  LineReader reader(table);
  cursor.fault = LineFault::kNone;
  while (cursor.at < table.bytes.size() && cursor.row < table.capacity && cursor.line < lines &&
         cursor.fault == LineFault::kNone) {
    reader.start(cursor.at);
    if (!reader.at_end()) {
      const size_t line = cursor.line++;
      if (!table.kept.empty() && table.kept[line] == 0) {
        reader.pass_line();
      } else {
        reader.read(cursor);
        if (cursor.fault == LineFault::kNone) {
          table.records[cursor.row++] = table.first_record + static_cast<double>(line);
        }
      }
    }
    reader.next_line();
    cursor.at = reader.position();
  }
}

}  // namespace tandem
