// sgd, adam, rmsprop, adagrad: PyTorch's update rules (torch/optim, the single-tensor functions) as
// one sweep over parameters, gradients and optimizer state. A rule is a struct made once a tile
// from the attributes and the step's state; update() takes vectors of a parameter, its gradient and
// its state. Factors that depend on the step are computed in double. A skipped step changes
// nothing.
#include "core/ops/optimizer.h"

#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int64_t kTile = 16384;

TANDEM_INLINE Vec constant(double x) { return set1(static_cast<float>(x)); }

// ---- update rules ------------------------------------------------------------------------------

template <bool momentum>
struct SgdRule {
  using Attributes = ops::Sgd::Attributes;
  static constexpr int kSlots = momentum ? 1 : 0;
  Vec rate, decay, factor;
  bool nesterov, starts;

  SgdRule(const Attributes& a, const StepState& state)
      : rate(constant(-state.learning_rate)),
        decay(constant(a.weight_decay)),
        factor(constant(a.momentum)),
        nesterov(a.nesterov),
        starts(state.step <= 1) {}

  TANDEM_INLINE void update(const SgdRule& r, Vec& p, Vec g, Vec* s) {
    g = fma(r.decay, p, g);
    if constexpr (momentum) {
      s[0] = r.starts ? g : fma(r.factor, s[0], g);
      g = r.nesterov ? fma(r.factor, s[0], g) : s[0];
    }
    p = fma(r.rate, g, p);
  }
};

struct AdamRule {
  using Attributes = ops::Adam::Attributes;
  static constexpr int kSlots = 2;
  Vec keep, decay, weight1, beta2, weight2, scale2, epsilon, rate;

  AdamRule(const Attributes& a, const StepState& state) {
    const auto step = static_cast<double>(state.step);
    const double correction1 = 1.0 - __builtin_pow(a.beta1, step);
    const double correction2 = 1.0 - __builtin_pow(a.beta2, step);
    keep = constant(a.decoupled ? 1.0 - state.learning_rate * a.weight_decay : 1.0);
    decay = constant(a.decoupled ? 0.0 : a.weight_decay);
    weight1 = constant(1.0 - a.beta1);
    beta2 = constant(a.beta2);
    weight2 = constant(1.0 - a.beta2);
    scale2 = constant(1.0 / __builtin_sqrt(correction2));
    epsilon = constant(a.epsilon);
    rate = constant(-state.learning_rate / correction1);
  }

  TANDEM_INLINE void update(const AdamRule& r, Vec& p, Vec g, Vec* s) {
    p *= r.keep;
    g = fma(r.decay, p, g);
    s[0] = fma(r.weight1, g - s[0], s[0]);
    s[1] = fma(r.weight2 * g, g, r.beta2 * s[1]);
    p = fma(r.rate, s[0] / fma(sqrt_(s[1]), r.scale2, r.epsilon), p);
  }
};

template <bool momentum, bool centered>
struct RmsPropRule {
  using Attributes = ops::RmsProp::Attributes;
  static constexpr int kSlots = 1 + (momentum ? 1 : 0) + (centered ? 1 : 0);
  Vec rate, decay, alpha, weight, epsilon, factor;

  RmsPropRule(const Attributes& a, const StepState& state)
      : rate(constant(-state.learning_rate)),
        decay(constant(a.weight_decay)),
        alpha(constant(a.alpha)),
        weight(constant(1.0 - a.alpha)),
        epsilon(constant(a.epsilon)),
        factor(constant(a.momentum)) {}

  TANDEM_INLINE void update(const RmsPropRule& r, Vec& p, Vec g, Vec* s) {
    g = fma(r.decay, p, g);
    s[0] = fma(r.weight * g, g, r.alpha * s[0]);
    Vec square = s[0];
    if constexpr (centered) {
      Vec& mean = s[kSlots - 1];
      mean = fma(r.weight, g - mean, mean);
      square = max_(fma(-mean, mean, square), zero());  // rounding may leave less than nothing
    }
    Vec change = g / (sqrt_(square) + r.epsilon);
    if constexpr (momentum) change = s[1] = fma(r.factor, s[1], change);
    p = fma(r.rate, change, p);
  }
};

struct AdagradRule {
  using Attributes = ops::Adagrad::Attributes;
  static constexpr int kSlots = 1;
  Vec rate, decay, epsilon;

  AdagradRule(const Attributes& a, const StepState& state)
      : rate(constant(-state.learning_rate /
                      (1.0 + (static_cast<double>(state.step) - 1.0) * a.lr_decay))),
        decay(constant(a.weight_decay)),
        epsilon(constant(a.epsilon)) {}

  TANDEM_INLINE void update(const AdagradRule& r, Vec& p, Vec g, Vec* s) {
    g = fma(r.decay, p, g);
    s[0] = fma(g, g, s[0]);
    p = fma(r.rate, g / (sqrt_(s[0]) + r.epsilon), p);
  }
};

// ---- the sweep ---------------------------------------------------------------------------------

template <typename Rule>
struct SweepParams {
  int64_t n;
  typename Rule::Attributes attributes;
};

template <typename Rule>
void sweep_tile(const void* params, void* const* operands, int64_t tile,
                const TileContext& context) {
  if (context.state->skip != 0) return;
  const auto& p = params_of<SweepParams<Rule>>(params);
  const Rule rule(p.attributes, *context.state);
  const Vec clip = set1(context.state->clip);
  auto* parameters = static_cast<float*>(operands[0]);
  const auto* gradients = static_cast<const float*>(operands[1]);
  float* state[Rule::kSlots + 1];
  for (int k = 0; k < Rule::kSlots; ++k) state[k] = static_cast<float*>(operands[2]) + k * p.n;
  const Range range = piece(tile, kTile, p.n);
  int64_t i = range.begin;
  Vec slots[Rule::kSlots + 1];
  for (; i + kWidth <= range.end; i += kWidth) {
    Vec parameter = load(parameters + i);
    for (int k = 0; k < Rule::kSlots; ++k) slots[k] = load(state[k] + i);
    Rule::update(rule, parameter, load(gradients + i) * clip, slots);
    for (int k = 0; k < Rule::kSlots; ++k) store(state[k] + i, slots[k]);
    store(parameters + i, parameter);
  }
  const int64_t rest = range.end - i;
  if (rest <= 0) return;
  Vec parameter = load_partial(parameters + i, rest);
  for (int k = 0; k < Rule::kSlots; ++k) slots[k] = load_partial(state[k] + i, rest);
  Rule::update(rule, parameter, load_partial(gradients + i, rest) * clip, slots);
  for (int k = 0; k < Rule::kSlots; ++k) store_partial(state[k] + i, slots[k], rest);
  store_partial(parameters + i, parameter, rest);
}

template <typename Rule>
void launch(const NodeView& node, Emitter& emit) {
  const SweepParams<Rule> p{node.inputs[0]->numel, attributes_of<typename Rule::Attributes>(node)};
  const double per_element = 0.15 + 0.12 * Rule::kSlots;
  emit_step(emit, sweep_tile<Rule>, p, ceil_div(p.n, kTile),
            50.0 + per_element * static_cast<double>(p.n));
}

}  // namespace

void launch_sgd(const NodeView& node, Emitter& emit) {
  if (attributes_of<ops::Sgd::Attributes>(node).momentum != 0.0) {
    launch<SgdRule<true>>(node, emit);
  } else {
    launch<SgdRule<false>>(node, emit);
  }
}

void launch_adam(const NodeView& node, Emitter& emit) { launch<AdamRule>(node, emit); }

void launch_rmsprop(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::RmsProp::Attributes>(node);
  if (attributes.momentum != 0.0) {
    attributes.centered ? launch<RmsPropRule<true, true>>(node, emit)
                        : launch<RmsPropRule<true, false>>(node, emit);
  } else {
    attributes.centered ? launch<RmsPropRule<false, true>>(node, emit)
                        : launch<RmsPropRule<false, false>>(node, emit);
  }
}

void launch_adagrad(const NodeView& node, Emitter& emit) { launch<AdagradRule>(node, emit); }

}  // namespace tandem::cpu::TANDEM_ISA_NS
