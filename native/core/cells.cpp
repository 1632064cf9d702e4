#include "core/cells.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <system_error>

namespace tandem {
namespace {

constexpr uint8_t kNewline = '\n';
constexpr uint8_t kReturn = '\r';

/// Up to 15 digits and a power of ten are exact, so that one division rounds once: Clinger, "How to
/// Read Floating Point Numbers Accurately" (1990).
constexpr size_t kExactDigits = 15;
constexpr double kPowers[kExactDigits + 1] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                              1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

/// Reads one line; `at_` is where its next cell begins.
class LineReader {
 public:
  LineReader(const CellTable& table, size_t begin)
      : table_(table),
        begin_(table.bytes.data()),
        end_(begin_ + table.bytes.size()),
        at_(begin_ + begin) {}

  [[nodiscard]] size_t position() const { return static_cast<size_t>(at_ - begin_); }
  [[nodiscard]] bool at_end() const { return ends_line(at_); }

  void next_line() {
    const auto* const line = at_ == end_ ? nullptr
                                         : static_cast<const uint8_t*>(std::memchr(
                                               at_, kNewline, static_cast<size_t>(end_ - at_)));
    at_ = line == nullptr ? end_ : line + 1;
  }

  /// Whether the line is a row.
  bool read(size_t row) {
    const size_t last = table_.columns.size() - 1;
    for (size_t i = 0; i <= last; ++i) {
      const CellColumn& column = table_.columns[i];
      if (column.numbers != nullptr) {
        if (!number(column.numbers[row])) return false;
      } else {
        const uint8_t* const cell = at_;
        at_ = cell_end(cell);
        if (column.spans != nullptr) {
          column.spans[2 * row] = static_cast<int32_t>(cell - begin_);
          column.spans[2 * row + 1] = static_cast<int32_t>(at_ - begin_);
        }
      }
      const bool ended = at_end();
      if (ended != (i == last)) return false;
      if (!ended) ++at_;
    }
    return true;
  }

 private:
  [[nodiscard]] uint8_t byte(const uint8_t* at) const { return at < end_ ? *at : kNewline; }
  [[nodiscard]] bool ends_line(const uint8_t* at) const {
    const uint8_t found = byte(at);
    return found == kNewline || (found == kReturn && byte(at + 1) == kNewline);
  }

  /// The delimiter or the line's end that follows.
  [[nodiscard]] const uint8_t* cell_end(const uint8_t* cell) const {
    const uint8_t* at = cell;
    while (at < end_ && *at != table_.delimiter && *at != kNewline) ++at;
    return at > cell && byte(at) == kNewline && at[-1] == kReturn ? at - 1 : at;
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

  bool number(double& result) {
    const uint8_t* const cell = at_;
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
    const bool ended = byte(at_) == table_.delimiter || ends_line(at_);
    if (!ended || count == 0 || count > kExactDigits) return unusual(cell, result);
    const double value = static_cast<double>(mantissa) / kPowers[decimals];
    result = negative ? -value : value;
    return true;
  }

  /// A missing number, or one with more digits or an exponent.
  bool unusual(const uint8_t* cell, double& result) {
    at_ = cell_end(cell);
    const std::string_view text(reinterpret_cast<const char*>(cell),
                                static_cast<size_t>(at_ - cell));
    if (text.empty() || std::ranges::find(table_.missing, text) != table_.missing.end()) {
      result = std::numeric_limits<double>::quiet_NaN();
      return true;
    }
#ifdef __cpp_lib_to_chars
    const char first = text[text[0] == '-' && text.size() > 1 ? 1 : 0];
    if (first != '.' && (first < '0' || first > '9')) return false;  // "inf" is a text
    const char* const end = text.data() + text.size();
    const auto [read, error] = std::from_chars(text.data(), end, result);
    return error == std::errc() && read == end;
#else
    return false;  // whoever asks has other means
#endif
  }

  const CellTable& table_;
  const uint8_t* begin_;
  const uint8_t* end_;
  const uint8_t* at_;
};

}  // namespace

void read_cells(const CellTable& table, CellCursor& cursor) noexcept {
  const size_t lines = table.kept.empty() ? std::numeric_limits<size_t>::max() : table.kept.size();
  while (cursor.at < table.bytes.size() && cursor.row < table.capacity && cursor.line < lines) {
    LineReader reader(table, cursor.at);
    if (!reader.at_end()) {
      const bool kept = table.kept.empty() || table.kept[cursor.line] != 0;
      if (kept && !reader.read(cursor.row)) return;
      if (kept) {
        table.records[cursor.row++] = table.first_record + static_cast<double>(cursor.line);
      }
      ++cursor.line;
    }
    reader.next_line();
    cursor.at = reader.position();
  }
}

}  // namespace tandem
