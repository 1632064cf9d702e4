// The optimizer's part of a training step: each op is one sweep over whole arenas, with the update
// rule and the defaults of PyTorch's class of that name. The learning rate, the step's number, the
// clipping factor and the order to skip come from the StepState that every kernel sees.
//   inputs: parameters [n], gradients [n], optimizer state [slots * n] (left out without slots)
//   and, if the norm of the gradients is wanted afterwards, room for sums of their squares
//   [sweep_tiles(n)].
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

/// Elements of a tile of a sweep: parameters, gradients and two slots of state fit into an L2
/// cache.
inline constexpr int64_t kSweepTile = 16384;
constexpr int64_t sweep_tiles(int64_t n) { return (n + kSweepTile - 1) / kSweepTile; }

/// Every optimizer's attributes have a factor on the step's learning rate, which a group of
/// parameters may set.
struct OptimizerBase : Base {
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 4;
  static constexpr uint32_t kFlags = kEffect | kInternal | kReadsState;
  static constexpr uint32_t kWrites = 1 | 4 | 8;
  static void infer(InferContext& /*context*/) {}
};

/// Norm of all gradients, into StepState: the factor that clips it to `max_norm` (infinite: none),
/// and, with `check`, the order to skip a step whose norm or loss is not finite.
/// Inputs: gradients [n] or, with `squared`, sums of their squares [n]; loss [].
struct GradientNorm : Base {
  static constexpr int kMinInputs = 1;
  static constexpr int kMaxInputs = 2;
  static constexpr uint32_t kFlags = kEffect | kInternal | kWritesState;
  struct Attributes {
    double max_norm = 0.0;  ///< 0: no clipping
    bool check = false;
    bool squared = false;
  };
  static void infer(InferContext& /*context*/) {}
  static constexpr AttributeField kFieldTable[] = {
      {"maxNorm", AttributeType::kDouble, offsetof(Attributes, max_norm), false},
      {"check", AttributeType::kBoolean, offsetof(Attributes, check), false},
      {"squared", AttributeType::kBoolean, offsetof(Attributes, squared), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 3;
};

/// torch.optim.SGD. State: one slot when momentum != 0.
struct Sgd : OptimizerBase {
  struct Attributes {
    double momentum = 0.0;
    double weight_decay = 0.0;
    bool nesterov = false;
    double rate_factor = 1.0;
  };
  static constexpr AttributeField kFieldTable[] = {
      {"momentum", AttributeType::kDouble, offsetof(Attributes, momentum), false},
      {"weightDecay", AttributeType::kDouble, offsetof(Attributes, weight_decay), false},
      {"nesterov", AttributeType::kBoolean, offsetof(Attributes, nesterov), false},
      {"rateFactor", AttributeType::kDouble, offsetof(Attributes, rate_factor), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 4;
};

/// torch.optim.Adam (Kingma and Ba 2015), or AdamW (Loshchilov and Hutter 2019) when `decoupled`.
/// State: first and second moment.
struct Adam : OptimizerBase {
  struct Attributes {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0.0;
    bool decoupled = false;
    double rate_factor = 1.0;
  };
  static constexpr AttributeField kFieldTable[] = {
      {"betas[0]", AttributeType::kDouble, offsetof(Attributes, beta1), false},
      {"betas[1]", AttributeType::kDouble, offsetof(Attributes, beta2), false},
      {"eps", AttributeType::kDouble, offsetof(Attributes, epsilon), false},
      {"weightDecay", AttributeType::kDouble, offsetof(Attributes, weight_decay), false},
      {"decoupled", AttributeType::kBoolean, offsetof(Attributes, decoupled), false},
      {"rateFactor", AttributeType::kDouble, offsetof(Attributes, rate_factor), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 6;
};

/// torch.optim.RMSprop. State: mean square, then momentum buffer if momentum != 0, then mean
/// gradient if centered.
struct RmsProp : OptimizerBase {
  struct Attributes {
    double alpha = 0.99;
    double epsilon = 1e-8;
    double momentum = 0.0;
    double weight_decay = 0.0;
    bool centered = false;
    double rate_factor = 1.0;
  };
  static constexpr AttributeField kFieldTable[] = {
      {"alpha", AttributeType::kDouble, offsetof(Attributes, alpha), false},
      {"eps", AttributeType::kDouble, offsetof(Attributes, epsilon), false},
      {"momentum", AttributeType::kDouble, offsetof(Attributes, momentum), false},
      {"weightDecay", AttributeType::kDouble, offsetof(Attributes, weight_decay), false},
      {"centered", AttributeType::kBoolean, offsetof(Attributes, centered), false},
      {"rateFactor", AttributeType::kDouble, offsetof(Attributes, rate_factor), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 6;
};

/// torch.optim.Adagrad. State: sum of squares.
struct Adagrad : OptimizerBase {
  struct Attributes {
    double lr_decay = 0.0;
    double epsilon = 1e-10;
    double weight_decay = 0.0;
    double rate_factor = 1.0;
  };
  static constexpr AttributeField kFieldTable[] = {
      {"lrDecay", AttributeType::kDouble, offsetof(Attributes, lr_decay), false},
      {"eps", AttributeType::kDouble, offsetof(Attributes, epsilon), false},
      {"weightDecay", AttributeType::kDouble, offsetof(Attributes, weight_decay), false},
      {"rateFactor", AttributeType::kDouble, offsetof(Attributes, rate_factor), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 4;
};

/// Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023), with decoupled weight
/// decay. State: the momentum.
struct Lion : OptimizerBase {
  struct Attributes {
    double beta1 = 0.9;
    double beta2 = 0.99;
    double weight_decay = 0.0;
    double rate_factor = 1.0;
  };
  static constexpr AttributeField kFieldTable[] = {
      {"betas[0]", AttributeType::kDouble, offsetof(Attributes, beta1), false},
      {"betas[1]", AttributeType::kDouble, offsetof(Attributes, beta2), false},
      {"weightDecay", AttributeType::kDouble, offsetof(Attributes, weight_decay), false},
      {"rateFactor", AttributeType::kDouble, offsetof(Attributes, rate_factor), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 4;
};

/// You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes" (2020),
/// algorithm 2: Adam's step, with decoupled weight decay, as long as the parameter times the rate.
/// The operands are one parameter, whose norm that is. State: first and second moment.
struct Lamb : OptimizerBase {
  struct Attributes {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-6;
    double weight_decay = 0.0;
    double rate_factor = 1.0;
  };
  static constexpr AttributeField kFieldTable[] = {
      {"betas[0]", AttributeType::kDouble, offsetof(Attributes, beta1), false},
      {"betas[1]", AttributeType::kDouble, offsetof(Attributes, beta2), false},
      {"eps", AttributeType::kDouble, offsetof(Attributes, epsilon), false},
      {"weightDecay", AttributeType::kDouble, offsetof(Attributes, weight_decay), false},
      {"rateFactor", AttributeType::kDouble, offsetof(Attributes, rate_factor), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 5;
};

}  // namespace tandem::ops
