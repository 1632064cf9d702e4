// Attributes of ops. Each op has a plain struct of them, so that kernels read fields; a table of
// fields beside it turns names and numbers from JavaScript or from a file into that struct.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/tensor.h"

namespace tandem {

enum class AttributeType : uint8_t {
  kFloat,
  kDouble,
  kInteger,
  kBoolean,
  kIntList,
  kPair,  ///< an IntPair: two integers, or one that stands for both
};

/// One integer for the height and one for the width.
struct IntPair {
  int64_t height;
  int64_t width;
};

struct AttributeField {
  const char* name;
  AttributeType type;
  size_t offset;
  bool required;
};

/// Storage for any op's attribute struct: trivially copyable, compared and copied as bytes.
struct AttributeStorage {
  alignas(8) std::array<std::byte, 192> bytes{};
};

using AttributeValue = std::variant<double, bool, std::vector<double>>;
using AttributeList = std::vector<std::pair<std::string, AttributeValue>>;

/// Writes named values over the defaults in `storage`. Throws ERR_ARGUMENT for an unknown, missing,
/// ill-typed or out-of-range attribute; `op` is named in the message.
void parse_attributes(const char* op, const AttributeField* fields, size_t count,
                      const AttributeList& values, AttributeStorage& storage);

}  // namespace tandem
