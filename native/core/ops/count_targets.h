// countTargets(target, classWeights?, weights?, {ignoreIndex, ignoreNegative}): what a mean over
// class numbers target [...] divides by. The number of targets that are not ignored, each with its
// class's weight (none for what is no class) and its own; weights have the shape of target or the
// first of its axes. Counts as constant.
#pragma once

#include "core/ops/base.h"
#include "core/ops/weights.h"

namespace tandem::ops {

struct CountTargetsAttributes {
  int64_t ignore_index = -100;
  bool ignore_negative = false;
};

struct CountTargets : Base {
  static constexpr uint32_t kAnyDType = 1;
  static constexpr std::string_view kInputNames = "target classWeights weights";
  static constexpr int kMinInputs = 1;
  static constexpr int kMaxInputs = 3;
  using Attributes = CountTargetsAttributes;
  static constexpr AttributeField kFieldTable[] = {
      {"ignoreIndex", AttributeType::kInteger, offsetof(Attributes, ignore_index), false},
      {"ignoreNegative", AttributeType::kBoolean, offsetof(Attributes, ignore_negative), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 2;

  static void infer(InferContext& context) {
    if (context.has_input(1) && context.shape(1).size() != 1)
      context.bad_shape("class weights [classes]");
    check_weights(context, 2, context.shape(0));
    context.output({});
  }
};

}  // namespace tandem::ops
