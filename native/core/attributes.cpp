#include "core/attributes.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>

#include "core/shape.h"

namespace tandem {
namespace {

[[noreturn]] void bad(const char* op, const std::string& name, const std::string& expected) {
  fail(ErrorCode::kArgument, std::string("expected ") + expected + " for `" + name + "` of " + op);
}

int64_t to_integer(const char* op, const std::string& name, double value) {
  constexpr double kMaxSafe = 9007199254740991.0;
  if (!(std::abs(value) <= kMaxSafe) || value != std::trunc(value)) {
    bad(op, name, "an integer");
  }
  return static_cast<int64_t>(value);
}

/// A number that kernels compute with in float32: one that is infinite or 0 there without being so
/// itself is refused. An infinity stands for itself.
double to_number(const char* op, const std::string& name, const AttributeValue& value) {
  const auto* number = std::get_if<double>(&value);
  if (number == nullptr || std::isnan(*number)) bad(op, name, "a number");
  if (std::isinf(*number)) return *number;
  const bool overflows = std::abs(*number) > double{std::numeric_limits<float>::max()};
  if (!overflows && (static_cast<float>(*number) != 0.0F || *number == 0.0)) return *number;
  std::ostringstream text;
  text << *number << ", which is " << (overflows ? "infinite" : "0") << " in float32";
  fail(ErrorCode::kArgument, std::string("expected a number within the range of float32 for `") +
                                 name + "` of " + op + ", received " + text.str());
}

IntPair to_pair(const char* op, const std::string& name, const AttributeValue& value) {
  if (const auto* number = std::get_if<double>(&value)) {
    const int64_t both = to_integer(op, name, *number);
    return {both, both};
  }
  const auto* list = std::get_if<std::vector<double>>(&value);
  if (list == nullptr || list->size() != 2) bad(op, name, "one or two integers");
  return {to_integer(op, name, list->front()), to_integer(op, name, list->back())};
}

template <typename T>
void store(AttributeStorage& storage, size_t offset, const T& value) {
  std::memcpy(storage.bytes.data() + offset, &value, sizeof(T));
}

void store_value(const char* op, const AttributeField& field, const AttributeValue& value,
                 AttributeStorage& storage) {
  const std::string name = field.name;
  switch (field.type) {
    case AttributeType::kFloat:
      store(storage, field.offset, static_cast<float>(to_number(op, name, value)));
      return;
    case AttributeType::kDouble:
      store(storage, field.offset, to_number(op, name, value));
      return;
    case AttributeType::kInteger: {
      const auto* number = std::get_if<double>(&value);
      if (number == nullptr) bad(op, name, "an integer");
      store(storage, field.offset, to_integer(op, name, *number));
      return;
    }
    case AttributeType::kBoolean: {
      const auto* flag = std::get_if<bool>(&value);
      if (flag == nullptr) bad(op, name, "true or false");
      store(storage, field.offset, *flag);
      return;
    }
    case AttributeType::kIntList: {
      const auto* list = std::get_if<std::vector<double>>(&value);
      if (list == nullptr || list->size() > kMaxRank) bad(op, name, "a list of at most 8 integers");
      IntList out{};
      for (const double item : *list) out.values[out.count++] = to_integer(op, name, item);
      store(storage, field.offset, out);
      return;
    }
    case AttributeType::kPair:
      store(storage, field.offset, to_pair(op, name, value));
      return;
  }
}

}  // namespace

void parse_attributes(const char* op, const AttributeField* fields, size_t count,
                      const AttributeList& values, AttributeStorage& storage) {
  for (const auto& [name, value] : values) {
    size_t i = 0;
    while (i < count && name != fields[i].name) ++i;
    if (i == count) {
      fail(ErrorCode::kArgument,
           std::string("expected a known attribute of ") + op + ", received `" + name + "`");
    }
    store_value(op, fields[i], value, storage);
  }
  for (size_t i = 0; i < count; ++i) {
    bool given = false;
    for (const auto& item : values) given = given || item.first == fields[i].name;
    if (fields[i].required && !given) bad(op, fields[i].name, "a value");
  }
}

}  // namespace tandem
