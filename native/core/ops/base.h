// Defaults that an op's struct inherits and overrides.
#pragma once

#include "core/autodiff.h"
#include "core/op.h"

namespace tandem::ops {

struct NoAttributes {};

struct Base {
  using Attributes = NoAttributes;
  static constexpr const AttributeField* kFields = nullptr;
  static constexpr size_t kFieldCount = 0;
  /// What errors call the inputs of an op that users apply: the names that they have in lib/ops,
  /// with spaces between; "values[]" for any number of them.
  static constexpr std::string_view kInputNames = "x";
  static constexpr int kMinInputs = 1;
  static constexpr int kMaxInputs = 1;
  static constexpr uint32_t kFlags = kNoFlags;
  static constexpr uint32_t kInPlace = 0;
  static constexpr uint32_t kAnyDType = 0;
  static constexpr uint32_t kWrites = 0;
  static constexpr void (*in_training)(AttributeStorage&) = nullptr;
  static constexpr void (*grad)(GradContext&) = nullptr;
};

}  // namespace tandem::ops
