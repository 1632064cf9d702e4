#include "core/text_number.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <string>
#include <system_error>

namespace tandem {
namespace {

constexpr std::string_view kBlanks[] = {" ",
                                        "\t",
                                        "\n",
                                        "\v",
                                        "\f",
                                        "\r",
                                        "\xc2\xa0",
                                        "\xe1\x9a\x80",
                                        "\xe2\x80\x80",
                                        "\xe2\x80\x81",
                                        "\xe2\x80\x82",
                                        "\xe2\x80\x83",
                                        "\xe2\x80\x84",
                                        "\xe2\x80\x85",
                                        "\xe2\x80\x86",
                                        "\xe2\x80\x87",
                                        "\xe2\x80\x88",
                                        "\xe2\x80\x89",
                                        "\xe2\x80\x8a",
                                        "\xe2\x80\xa8",
                                        "\xe2\x80\xa9",
                                        "\xe2\x80\xaf",
                                        "\xe2\x81\x9f",
                                        "\xe3\x80\x80",
                                        "\xef\xbb\xbf"};

/// Bytes of the blank that has this byte at the edge of a text.
template <typename Has>
size_t blank_size(char edge, Has has) {
  const auto byte = static_cast<uint8_t>(edge);
  if (byte > ' ' && byte < 0x80) return 0;
  const auto* const blank = std::ranges::find_if(kBlanks, has);
  return blank == std::end(kBlanks) ? 0 : blank->size();
}

bool take(std::string_view& text, char byte) {
  if (!text.starts_with(byte)) return false;
  text.remove_prefix(1);
  return true;
}

/// Returns how many.
size_t take_digits(std::string_view& text) {
  size_t count = 0;
  while (count < text.size() && text[count] >= '0' && text[count] <= '9') ++count;
  text.remove_prefix(count);
  return count;
}

/// Whether it is digits, with a point and an exponent or not.
bool is_decimal(std::string_view text) {
  size_t digits = take_digits(text);
  if (take(text, '.')) digits += take_digits(text);
  if (digits == 0) return false;
  if (!take(text, 'e') && !take(text, 'E')) return text.empty();
  if (!take(text, '+')) (void)take(text, '-');
  return take_digits(text) > 0 && text.empty();
}

/// Of most decimal numbers, where the library has from_chars; nothing of others and of what
/// overflows.
std::optional<double> quick([[maybe_unused]] std::string_view text) {
#ifdef __cpp_lib_to_chars
  const size_t digit = text.starts_with('-') ? 1 : 0;
  const char first = text.size() > digit ? text[digit] : '\0';
  if (first != '.' && (first < '0' || first > '9')) return std::nullopt;  // "inf" is a text
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [read, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && read == end) return value;
#endif
  return std::nullopt;
}

/// Of any decimal number, by strtod, which gives infinity and zero where from_chars gives nothing.
/// The point, for which some locales have another sign, goes into the exponent.
double scaled(std::string_view decimal) {
  const size_t end = std::min(decimal.find_first_of("eE"), decimal.size());
  std::string digits(decimal.substr(0, end));
  std::string_view written = decimal.substr(std::min(end + 1, decimal.size()));
  (void)take(written, '+');
  int64_t exponent = 0;
  const auto [read, error] =
      std::from_chars(written.data(), written.data() + written.size(), exponent);
  // Beyond what the digits of any text could make up for.
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 2;
  if (error == std::errc::result_out_of_range) exponent = written.front() == '-' ? -kMost : kMost;
  exponent = std::clamp(exponent, -kMost, kMost);
  const size_t point = digits.find('.');
  if (point != std::string::npos) {
    exponent -= static_cast<int64_t>(digits.size() - point - 1);
    digits.erase(point, 1);
  }
  digits += 'e';
  digits += std::to_string(exponent);
  return std::strtod(digits.c_str(), nullptr);
}

/// Bytes of the character that `text` begins with; 0 where it begins with none.
size_t character_size(std::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const size_t size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (text.size() < size) return 0;
  // The second byte tells what could be shorter, surrogates and what is above U+10FFFF.
  const uint8_t least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const uint8_t most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < least || byte(1) > most) return 0;
  for (size_t i = 2; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  return size;
}

}  // namespace

std::string_view trim(std::string_view text) {
  while (!text.empty()) {
    const size_t size = blank_size(
        text.front(), [text](std::string_view blank) { return text.starts_with(blank); });
    if (size == 0) break;
    text.remove_prefix(size);
  }
  while (!text.empty()) {
    const size_t size =
        blank_size(text.back(), [text](std::string_view blank) { return text.ends_with(blank); });
    if (size == 0) break;
    text.remove_suffix(size);
  }
  return text;
}

std::optional<double> to_number(std::string_view text) {
  if (const std::optional<double> value = quick(text)) return value;
  const bool negative = take(text, '-');
  if (!negative) (void)take(text, '+');
  const bool infinite = text == "Infinity";
  if (!infinite && !is_decimal(text)) return std::nullopt;
  const double value = infinite ? std::numeric_limits<double>::infinity() : scaled(text);
  return negative ? -value : value;
}

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t size = character_size(bytes);
    if (size == 0) return false;
    bytes.remove_prefix(size);
  }
  return true;
}

}  // namespace tandem
