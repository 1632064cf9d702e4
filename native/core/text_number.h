// Texts -> what they say, as JavaScript takes them.
#pragma once

#include <optional>
#include <string_view>

namespace tandem {

/// Without the blanks round it, which are those of String.prototype.trim().
std::string_view trim(std::string_view text);

/// What Number() makes of a trimmed text that is a decimal number or Infinity; nothing of others,
/// such as 0x10.
std::optional<double> to_number(std::string_view text);

/// Whether these bytes are UTF-8 (RFC 3629).
bool is_utf8(std::string_view bytes);

}  // namespace tandem
