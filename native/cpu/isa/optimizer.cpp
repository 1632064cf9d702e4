// sgd, adam, rmsprop, adagrad: PyTorch's update rules (torch/optim, the single-tensor functions),
// and lion, as one sweep over parameters, gradients and optimizer state. A rule is a struct made
// once a tile from the attributes and the step's state; update() takes vectors of a parameter, its
// gradient and its state. Factors that depend on the step are computed in double. A skipped step
// changes nothing.
#include "core/ops/optimizer.h"

#include <cfloat>

#include "cpu/isa/denormals.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"
#include "cpu/isa/update.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

using ops::kSweepTile;

TANDEM_INLINE Vec constant(double x) { return set1(static_cast<float>(x)); }

// ---- update rules ------------------------------------------------------------------------------

/// The update -rate * a / (root * scale + epsilon) as a / (root * root_factor + rest): so that the
/// rate costs nothing.
struct Divisor {
  Vec factor, rest;
  Divisor(double scale, double epsilon, double rate) {
    constexpr double kNoRate = 1e-18;  // below it factors overflow, and no parameter would move
    const bool still = rate < kNoRate && rate > -kNoRate;
    factor = constant(still ? 0.0 : -scale / rate);
    rest = constant(still ? static_cast<double>(FLT_MAX) : -epsilon / rate);
  }
};

/// base + a / d by an estimate of 1 / d and one step of Newton's method for the quotient, within
/// 2^-22 of a / d: a sweep with a root and a division would wait for the divider, not for memory.
TANDEM_INLINE Vec add_quotient(Vec base, Vec a, Vec d) {
  const Vec r = reciprocal_estimate(d);
  const Vec q = a * r;
  return fma(minus_product(a, d, q), r, base + q);
}

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

/// kNone and kCoupled are Adam without and with weight decay, kDecoupled is AdamW.
enum class Decay { kNone, kCoupled, kDecoupled };

template <Decay kind>
struct AdamRule {
  using Attributes = ops::Adam::Attributes;
  static constexpr int kSlots = 2;
  Vec keep, decay, weight1, weight2;
  Divisor divisor;

  AdamRule(const Attributes& a, const StepState& state)
      : keep(constant(1.0 - state.learning_rate * a.weight_decay)),
        decay(constant(a.weight_decay)),
        weight1(constant(1.0 - a.beta1)),
        weight2(constant(1.0 - a.beta2)),
        divisor(divisor_of(a, state)) {}

  static Divisor divisor_of(const Attributes& a, const StepState& state) {
    const auto step = static_cast<double>(state.step);
    const double correction1 = 1.0 - __builtin_pow(a.beta1, step);
    const double correction2 = 1.0 - __builtin_pow(a.beta2, step);
    return {1.0 / __builtin_sqrt(correction2), a.epsilon, state.learning_rate / correction1};
  }

  TANDEM_INLINE void update(const AdamRule& r, Vec& p, Vec g, Vec* s) {
    if constexpr (kind == Decay::kDecoupled) p *= r.keep;
    if constexpr (kind == Decay::kCoupled) g = fma(r.decay, p, g);
    // differences instead of a second product: adders are free, multipliers are not
    s[0] = fma(r.weight1, g - s[0], s[0]);
    s[1] = fma(r.weight2, g * g - s[1], s[1]);
    p = add_quotient(p, s[0], fma(sqrt_(s[1]), r.divisor.factor, r.divisor.rest));
  }
};

template <bool momentum, bool centered>
struct RmsPropRule {
  using Attributes = ops::RmsProp::Attributes;
  static constexpr int kSlots = 1 + (momentum ? 1 : 0) + (centered ? 1 : 0);
  Vec rate, decay, weight, factor;
  Divisor divisor;  // with momentum the rate is applied after it

  RmsPropRule(const Attributes& a, const StepState& state)
      : rate(constant(-state.learning_rate)),
        decay(constant(a.weight_decay)),
        weight(constant(1.0 - a.alpha)),
        factor(constant(a.momentum)),
        divisor(1.0, a.epsilon, momentum ? -1.0 : state.learning_rate) {}

  TANDEM_INLINE void update(const RmsPropRule& r, Vec& p, Vec g, Vec* s) {
    g = fma(r.decay, p, g);
    s[0] = fma(r.weight, g * g - s[0], s[0]);
    Vec square = s[0];
    if constexpr (centered) {
      Vec& mean = s[kSlots - 1];
      mean = fma(r.weight, g - mean, mean);
      square = max_(fma(-mean, mean, square), zero());  // rounding may leave less than nothing
    }
    const Vec d = fma(sqrt_(square), r.divisor.factor, r.divisor.rest);
    if constexpr (momentum) {
      s[1] = add_quotient(r.factor * s[1], g, d);
      p = fma(r.rate, s[1], p);
    } else {
      p = add_quotient(p, g, d);
    }
  }
};

struct AdagradRule {
  using Attributes = ops::Adagrad::Attributes;
  static constexpr int kSlots = 1;
  Vec decay;
  Divisor divisor;

  AdagradRule(const Attributes& a, const StepState& state)
      : decay(constant(a.weight_decay)),
        divisor(
            1.0, a.epsilon,
            state.learning_rate / (1.0 + (static_cast<double>(state.step) - 1.0) * a.lr_decay)) {}

  TANDEM_INLINE void update(const AdagradRule& r, Vec& p, Vec g, Vec* s) {
    g = fma(r.decay, p, g);
    s[0] = fma(g, g, s[0]);
    p = add_quotient(p, g, fma(sqrt_(s[0]), r.divisor.factor, r.divisor.rest));
  }
};

struct LionRule {
  using Attributes = ops::Lion::Attributes;
  static constexpr int kSlots = 1;
  Vec keep, up, down, weight1, weight2;

  LionRule(const Attributes& a, const StepState& state)
      : keep(constant(1.0 - state.learning_rate * a.weight_decay)),
        up(constant(state.learning_rate)),
        down(constant(-state.learning_rate)),
        weight1(constant(1.0 - a.beta1)),
        weight2(constant(1.0 - a.beta2)) {}

  TANDEM_INLINE void update(const LionRule& r, Vec& p, Vec g, Vec* s) {
    const Vec mixed = fma(r.weight1, g - s[0], s[0]);
    // where it is neither, it is 0, or a NaN that shall be seen
    const Vec against = select(mixed > zero(), r.down, select(zero() > mixed, r.up, mixed));
    p = fma(r.keep, p, against);
    s[0] = fma(r.weight2, g - s[0], s[0]);
  }
};

// ---- the sweep ---------------------------------------------------------------------------------

template <typename Rule>
struct SweepParams {
  int64_t n;
  typename Rule::Attributes attributes;
};

/// What a tile works on.
template <typename Rule>
struct Sweep {
  Rule rule;
  Vec clip;
  float* parameters;
  const float* gradients;
  float* state[Rule::kSlots + 1];
};

template <typename Rule>
TANDEM_INLINE void update_vector(const Sweep<Rule>& sweep, Vec g, int64_t i) {
  Vec slots[Rule::kSlots + 1];
  Vec parameter = load(sweep.parameters + i);
  for (int k = 0; k < Rule::kSlots; ++k) slots[k] = load(sweep.state[k] + i);
  Rule::update(sweep.rule, parameter, g, slots);
  for (int k = 0; k < Rule::kSlots; ++k) store(sweep.state[k] + i, slots[k]);
  store(sweep.parameters + i, parameter);
}

template <typename Rule>
TANDEM_INLINE void update_partial(const Sweep<Rule>& sweep, Vec g, int64_t i, int64_t n) {
  Vec slots[Rule::kSlots + 1];
  Vec parameter = load_partial(sweep.parameters + i, n);
  for (int k = 0; k < Rule::kSlots; ++k) slots[k] = load_partial(sweep.state[k] + i, n);
  Rule::update(sweep.rule, parameter, g, slots);
  for (int k = 0; k < Rule::kSlots; ++k) store_partial(sweep.state[k] + i, slots[k], n);
  store_partial(sweep.parameters + i, parameter, n);
}

/// Updates with clipped gradients.
template <typename Rule>
void sweep_clipped(const Sweep<Rule>& sweep, Range range) {
  int64_t i = range.begin;
  for (; i + kWidth <= range.end; i += kWidth)
    update_vector(sweep, load(sweep.gradients + i) * sweep.clip, i);
  const int64_t n = range.end - i;
  if (n > 0) update_partial(sweep, load_partial(sweep.gradients + i, n) * sweep.clip, i, n);
}

/// Updates with the gradients as they are; returns the sum of their squares, added up in float over
/// blocks of a fixed size.
template <typename Rule>
double sweep_measuring(const Sweep<Rule>& sweep, Range range) {
  constexpr int64_t kBlock = 1024;
  double total = 0.0;
  for (int64_t i = range.begin; i < range.end;) {
    const int64_t end = least(i + kBlock, range.end);
    Vec squares = zero();
    for (; i + kWidth <= end; i += kWidth) {
      const Vec g = load(sweep.gradients + i);
      squares += g * g;
      update_vector(sweep, g, i);
    }
    if (i < end) {
      const Vec g = load_partial(sweep.gradients + i, end - i);
      squares += g * g;
      update_partial(sweep, g, i, end - i);
      i = end;
    }
    total += static_cast<double>(reduce_add(squares));
  }
  return total;
}

template <typename Rule>
Sweep<Rule> sweep_of(const typename Rule::Attributes& attributes, StepState step,
                     const UpdateSpan& span) {
  step.learning_rate *= attributes.rate_factor;
  Sweep<Rule> sweep{Rule(attributes, step), set1(step.clip), span.parameters, span.gradients, {}};
  for (int k = 0; k < Rule::kSlots; ++k) sweep.state[k] = span.state + k * span.slot;
  return sweep;
}

template <typename Rule>
float update_span(const void* attributes, const StepState& step, const UpdateSpan& span) {
  const FlushDenormals flush;
  const auto& values = *static_cast<const typename Rule::Attributes*>(attributes);
  return static_cast<float>(sweep_measuring(sweep_of<Rule>(values, step, span), {0, span.n}));
}

/// `measures`: there is an input 3 for the sum of each tile's squares. The norm is then not known
/// before, and nothing is clipped or skipped.
template <typename Rule, bool measures>
void sweep_tile(const void* params, void* const* operands, int64_t tile,
                const TileContext& context) {
  if (!measures && context.state->skip != 0) return;
  const FlushDenormals flush;
  const auto& p = params_of<SweepParams<Rule>>(params);
  // An optimizer without state need not have the operand for it.
  float* const state = Rule::kSlots > 0 ? static_cast<float*>(operands[2]) : nullptr;
  const UpdateSpan all{static_cast<float*>(operands[0]), static_cast<const float*>(operands[1]),
                       state, p.n, p.n};
  const Sweep<Rule> sweep = sweep_of<Rule>(p.attributes, *context.state, all);
  const Range range = piece(tile, kSweepTile, p.n);
  if constexpr (measures) {
    static_cast<float*>(operands[3])[tile] = static_cast<float>(sweep_measuring(sweep, range));
  } else {
    sweep_clipped(sweep, range);
  }
}

template <typename Rule>
void launch(const NodeView& node, Emitter& emit) {
  const SweepParams<Rule> p{node.inputs[0]->numel, attributes_of<typename Rule::Attributes>(node)};
  const bool measures = node.input_count > 3 && node.inputs[3] != nullptr;
  const double per_element = kWidth == 1 ? 4.0 : 0.1 + 0.06 * Rule::kSlots;
  emit_step(emit, measures ? sweep_tile<Rule, true> : sweep_tile<Rule, false>, p,
            ops::sweep_tiles(p.n), 50.0 + per_element * static_cast<double>(p.n));
}

/// Calls visit.operator()<Rule>() for the rule that an optimizer's attributes ask for.
template <typename Visit>
void with_rule(Op optimizer, const void* attributes, const Visit& visit) {
  if (optimizer == Op::sgd) {
    if (static_cast<const ops::Sgd::Attributes*>(attributes)->momentum != 0.0) {
      visit.template operator()<SgdRule<true>>();
    } else {
      visit.template operator()<SgdRule<false>>();
    }
  } else if (optimizer == Op::adam) {
    const auto& adam = *static_cast<const ops::Adam::Attributes*>(attributes);
    if (adam.weight_decay == 0.0) {
      visit.template operator()<AdamRule<Decay::kNone>>();
    } else if (adam.decoupled) {
      visit.template operator()<AdamRule<Decay::kDecoupled>>();
    } else {
      visit.template operator()<AdamRule<Decay::kCoupled>>();
    }
  } else if (optimizer == Op::rmsprop) {
    const auto& rmsprop = *static_cast<const ops::RmsProp::Attributes*>(attributes);
    if (rmsprop.momentum != 0.0) {
      rmsprop.centered ? visit.template operator()<RmsPropRule<true, true>>()
                       : visit.template operator()<RmsPropRule<true, false>>();
    } else {
      rmsprop.centered ? visit.template operator()<RmsPropRule<false, true>>()
                       : visit.template operator()<RmsPropRule<false, false>>();
    }
  } else if (optimizer == Op::lion) {
    visit.template operator()<LionRule>();
  } else {
    visit.template operator()<AdagradRule>();
  }
}

void launch_sweep(Op optimizer, const NodeView& node, Emitter& emit) {
  with_rule(optimizer, node.attributes, [&]<typename Rule>() { launch<Rule>(node, emit); });
}

}  // namespace

UpdateFn update_function(Op optimizer, const void* attributes) {
  UpdateFn found = nullptr;
  with_rule(optimizer, attributes, [&]<typename Rule>() { found = update_span<Rule>; });
  return found;
}

void launch_sgd(const NodeView& node, Emitter& emit) { launch_sweep(Op::sgd, node, emit); }
void launch_adam(const NodeView& node, Emitter& emit) { launch_sweep(Op::adam, node, emit); }
void launch_rmsprop(const NodeView& node, Emitter& emit) { launch_sweep(Op::rmsprop, node, emit); }
void launch_adagrad(const NodeView& node, Emitter& emit) { launch_sweep(Op::adagrad, node, emit); }
void launch_lion(const NodeView& node, Emitter& emit) { launch_sweep(Op::lion, node, emit); }

}  // namespace tandem::cpu::TANDEM_ISA_NS
