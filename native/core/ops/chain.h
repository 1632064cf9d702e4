// chain(inputs...): up to ten elementwise ops over one shape, computed in one pass over memory. The
// pass in core/chains.h makes it; elementwise.def stays the one source of what each op computes.
#pragma once

#include <cstdint>

#include "core/ops/base.h"

namespace tandem::ops {

/// One op of a chain.
struct ChainStep {
  Op op = Op::kCount;
  /// What it reads: an earlier step by its number, input k of the chain as -1 - k.
  int16_t operands[3] = {0, 0, 0};
  ElementwiseAttributes attributes{0.0F, 0.0F};
};

/// Operands of `op` as a step of a chain: those of an elementwise op, of its gradient or of
/// `where`. 0: it cannot be one.
constexpr int chain_operands(Op op) {
  switch (op) {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) \
  case Op::name:                                                            \
    return 1;                                                               \
  case Op::name##Grad:                                                      \
    return Saved::SAVED == Saved::kNone ? 1 : 2;
#define BINARY(name, forward, gradient_a, gradient_b) case Op::name:
#include "core/elementwise.def"
    return 2;
    case Op::where:
      return 3;
    default:
      return 0;
  }
}

/// Every step has the shape of the results; inputs broadcast to it where their op lets them. Output
/// 0 is the last step, by which all inputs have been read, so that it may take one's memory.
struct Chain : Base {
  static constexpr int kMaxSteps = 10;
  static constexpr uint32_t kFlags = kInternal;
  static constexpr int kMaxInputs = 12;
  static constexpr uint32_t kInPlace = (1U << kMaxInputs) - 1;
  static constexpr uint32_t kAnyDType = (1U << kMaxInputs) - 1;

  struct Attributes {
    ChainStep steps[kMaxSteps];
    int32_t count = 0;
    uint32_t outputs =
        0;  ///< bit i: step i is an output; the last one is 0, others follow in order
  };

  static void infer(InferContext& context) {
    const auto& chain = context.attributes<Attributes>();
    const bool ends =
        chain.count > 0 && chain.count <= kMaxSteps && chain.outputs >> (chain.count - 1) == 1;
    if (!ends) refuse("one to ten steps of which the last is an output");
    std::vector<Tensor> results;
    results.reserve(kMaxSteps);
    for (int i = 0; i < chain.count; ++i)
      results.push_back(infer_step(context, chain.steps[i], results));
    const Tensor& last = results.back();
    for (const Tensor& result : results) {
      if (!same_shape(result, last)) context.bad_shape("operands of steps of one shape");
    }
    for (uint32_t bits = chain.outputs; bits != 0; bits &= bits - 1) context.output(shape_of(last));
  }

 private:
  [[noreturn]] static void refuse(const char* expected) {
    fail(ErrorCode::kArgument,
         std::string("expected ") + expected + " for `steps` of chain, received others");
  }

  /// The step after `earlier` ones.
  static Tensor infer_step(const InferContext& context, const ChainStep& step,
                           const std::vector<Tensor>& earlier) {
    const int count = step.op < Op::kCount ? chain_operands(step.op) : 0;
    if (count == 0) refuse("elementwise ops");
    std::vector<std::optional<Tensor>> operands;
    for (int i = 0; i < count; ++i) {
      const int operand = step.operands[i];
      if (operand >= static_cast<int>(earlier.size())) refuse("operands that are computed before");
      operands.emplace_back(operand < 0 ? context.input(static_cast<size_t>(-1 - operand))
                                        : earlier[static_cast<size_t>(operand)]);
    }
    AttributeStorage storage;
    *reinterpret_cast<ElementwiseAttributes*>(storage.bytes.data()) = step.attributes;
    const Tensor result = tandem::infer(step.op, operands, storage).front();
    if (result.dtype != DType::kFloat32) refuse("steps that give floats");
    return result;
  }
};

}  // namespace tandem::ops
