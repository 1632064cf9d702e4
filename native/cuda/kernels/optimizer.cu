// sgd, adam, rmsprop, adagrad by PyTorch's update rules (torch/optim, the single-tensor functions)
// and lion, as one sweep over parameters, gradients and optimizer state. A rule is a struct made by
// each thread from the attributes and the step's state, whose factors are computed in double by one
// thread a block; update() takes one parameter, its gradient and its state. A skipped step changes
// nothing. Core has room for a sum of squares for each tile of ops::kSweepTile elements; where
// there are too few tiles to fill a GPU, several blocks share one, and a pass adds up what they
// found.
#include "core/ops/optimizer.h"

#include "cuda/device/fold.cuh"
#include "cuda/device/launch_bounds.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 512;
constexpr unsigned kJoinThreads = 32;
// Blocks of a tile where there are fewer than so many tiles: GPUs run one or two hundred at a time.
constexpr int64_t kFewTiles = 128;
constexpr int kPiecesOfFew = 16;

template <bool momentum>
struct SgdRule {
  using Attributes = ops::Sgd::Attributes;
  static constexpr int kSlots = momentum ? 1 : 0;
  float rate, decay, factor;
  bool nesterov, starts;

  TANDEM_DEVICE SgdRule(const Attributes& a, const StepState& state)
      : rate(static_cast<float>(-state.learning_rate)),
        decay(static_cast<float>(a.weight_decay)),
        factor(static_cast<float>(a.momentum)),
        nesterov(a.nesterov),
        starts(state.step <= 1) {}

  TANDEM_DEVICE void update(float& p, float g, float* s) const {
    g = fmaf(decay, p, g);
    if constexpr (momentum) {
      s[0] = starts ? g : fmaf(factor, s[0], g);
      g = nesterov ? fmaf(factor, s[0], g) : s[0];
    }
    p = fmaf(rate, g, p);
  }
};

/// kNone and kCoupled are Adam without and with weight decay, kDecoupled is AdamW.
enum class Decay { kNone, kCoupled, kDecoupled };

template <Decay kind>
struct AdamRule {
  using Attributes = ops::Adam::Attributes;
  static constexpr int kSlots = 2;
  float keep, decay, weight1, weight2, rate, root, epsilon;

  TANDEM_DEVICE AdamRule(const Attributes& a, const StepState& state)
      : keep(static_cast<float>(1.0 - state.learning_rate * a.weight_decay)),
        decay(static_cast<float>(a.weight_decay)),
        weight1(static_cast<float>(1.0 - a.beta1)),
        weight2(static_cast<float>(1.0 - a.beta2)),
        epsilon(static_cast<float>(a.epsilon)) {
    const auto step = static_cast<double>(state.step);
    rate = static_cast<float>(-state.learning_rate / (1.0 - pow(a.beta1, step)));
    root = static_cast<float>(1.0 / sqrt(1.0 - pow(a.beta2, step)));
  }

  TANDEM_DEVICE void update(float& p, float g, float* s) const {
    if constexpr (kind == Decay::kDecoupled) p *= keep;
    if constexpr (kind == Decay::kCoupled) g = fmaf(decay, p, g);
    s[0] = fmaf(weight1, g - s[0], s[0]);
    s[1] = fmaf(weight2, g * g - s[1], s[1]);
    p += rate * s[0] / fmaf(sqrtf(s[1]), root, epsilon);
  }
};

template <bool momentum, bool centered>
struct RmsPropRule {
  using Attributes = ops::RmsProp::Attributes;
  static constexpr int kSlots = 1 + (momentum ? 1 : 0) + (centered ? 1 : 0);
  float rate, decay, weight, factor, epsilon;

  TANDEM_DEVICE RmsPropRule(const Attributes& a, const StepState& state)
      : rate(static_cast<float>(-state.learning_rate)),
        decay(static_cast<float>(a.weight_decay)),
        weight(static_cast<float>(1.0 - a.alpha)),
        factor(static_cast<float>(a.momentum)),
        epsilon(static_cast<float>(a.epsilon)) {}

  TANDEM_DEVICE void update(float& p, float g, float* s) const {
    g = fmaf(decay, p, g);
    s[0] = fmaf(weight, g * g - s[0], s[0]);
    float square = s[0];
    if constexpr (centered) {
      float& mean = s[kSlots - 1];
      mean = fmaf(weight, g - mean, mean);
      square = fmaxf(fmaf(-mean, mean, square), 0.0F);  // rounding may leave less than nothing
    }
    const float quotient = g / (sqrtf(square) + epsilon);
    if constexpr (momentum) {
      s[1] = fmaf(factor, s[1], quotient);
      p = fmaf(rate, s[1], p);
    } else {
      p = fmaf(rate, quotient, p);
    }
  }
};

struct AdagradRule {
  using Attributes = ops::Adagrad::Attributes;
  static constexpr int kSlots = 1;
  float rate, decay, epsilon;

  TANDEM_DEVICE AdagradRule(const Attributes& a, const StepState& state)
      : rate(static_cast<float>(-state.learning_rate /
                                (1.0 + (static_cast<double>(state.step) - 1.0) * a.lr_decay))),
        decay(static_cast<float>(a.weight_decay)),
        epsilon(static_cast<float>(a.epsilon)) {}

  TANDEM_DEVICE void update(float& p, float g, float* s) const {
    g = fmaf(decay, p, g);
    s[0] = fmaf(g, g, s[0]);
    p = fmaf(rate, g / (sqrtf(s[0]) + epsilon), p);
  }
};

struct LionRule {
  using Attributes = ops::Lion::Attributes;
  static constexpr int kSlots = 1;
  float keep, rate, weight1, weight2;

  TANDEM_DEVICE LionRule(const Attributes& a, const StepState& state)
      : keep(static_cast<float>(1.0 - state.learning_rate * a.weight_decay)),
        rate(static_cast<float>(state.learning_rate)),
        weight1(static_cast<float>(1.0 - a.beta1)),
        weight2(static_cast<float>(1.0 - a.beta2)) {}

  TANDEM_DEVICE void update(float& p, float g, float* s) const {
    const float mixed = fmaf(weight1, g - s[0], s[0]);
    // where it is neither, it is 0, or a NaN that shall be seen
    const float against = mixed > 0.0F ? -rate : mixed < 0.0F ? rate : mixed;
    p = fmaf(keep, p, against);
    s[0] = fmaf(weight2, g - s[0], s[0]);
  }
};

// ---- the sweep ---------------------------------------------------------------------------------

/// `width` neighbouring elements; four need all operands aligned to 16 bytes.
template <int width>
struct alignas(4 * width) Pack {
  float at[width];
};

template <typename Rule, int width>
TANDEM_DEVICE float update_pack(const Rule& rule, const SweepOperands& o, float clip, int64_t i) {
  const auto load = [i](const float* from) {
    return *reinterpret_cast<const Pack<width>*>(from + i);
  };
  Pack<width> p = load(o.parameters);
  const Pack<width> g = load(o.gradients);
  Pack<width> s[Rule::kSlots + 1];
#pragma unroll
  for (int k = 0; k < Rule::kSlots; ++k) s[k] = load(o.state + k * o.n);
  float squares = 0.0F;
#pragma unroll
  for (int e = 0; e < width; ++e) {
    squares = fmaf(g.at[e], g.at[e], squares);
    float slots[Rule::kSlots + 1];
#pragma unroll
    for (int k = 0; k < Rule::kSlots; ++k) slots[k] = s[k].at[e];
    rule.update(p.at[e], g.at[e] * clip, slots);
#pragma unroll
    for (int k = 0; k < Rule::kSlots; ++k) s[k].at[e] = slots[k];
  }
  *reinterpret_cast<Pack<width>*>(o.parameters + i) = p;
#pragma unroll
  for (int k = 0; k < Rule::kSlots; ++k)
    *reinterpret_cast<Pack<width>*>(o.state + k * o.n + i) = s[k];
  return squares;
}

/// A block has a piece of a tile; `sums`: by piece, null where that is the whole tile, or where no
/// norm is wanted.
template <typename Rule, int width, int pieces>
__global__ void TANDEM_LAUNCH_BOUNDS(kThreads)
    sweep_kernel(typename Rule::Attributes attributes, SweepOperands o, double* sums,
                 const StepState* state) {
  constexpr int64_t kPiece = ops::kSweepTile / pieces;
  const bool measures = o.squares != nullptr;
  // with `squares` the norm is not known before, and nothing is clipped or skipped
  if (!measures && state->skip != 0) return;
  __shared__ alignas(Rule) unsigned char shared[sizeof(Rule)];
  if (threadIdx.x == 0) {
    StepState own = *state;
    own.learning_rate *= attributes.rate_factor;
    new (shared) Rule(attributes, own);
  }
  __syncthreads();
  const Rule rule = *reinterpret_cast<const Rule*>(shared);
  const float clip = measures ? 1.0F : state->clip;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kPiece;
  const int64_t end = begin + kPiece < o.n ? begin + kPiece : o.n;
  float squares = 0.0F;
#pragma unroll 2
  for (int64_t i = begin + threadIdx.x * width; i < end; i += kThreads * width)
    squares += update_pack<Rule, width>(rule, o, clip, i);
  if (!measures) return;
  const double sum = fold_threads<kThreads>(static_cast<double>(squares), Add{}, 0.0);
  if (threadIdx.x > 0) return;
  if (pieces == 1) {
    o.squares[blockIdx.x] = static_cast<float>(sum);
  } else {
    sums[blockIdx.x] = sum;
  }
}

/// A thread adds the sums of a tile's pieces.
__global__ void __launch_bounds__(kJoinThreads)
    join_kernel(const double* sums, int64_t count, float* squares, int64_t tiles) {
  const int64_t tile = static_cast<int64_t>(blockIdx.x) * kJoinThreads + threadIdx.x;
  if (tile >= tiles) return;
  double sum = 0.0;
  for (int64_t i = tile * kPiecesOfFew; i < (tile + 1) * kPiecesOfFew && i < count; ++i)
    sum += sums[i];
  squares[tile] = static_cast<float>(sum);
}

template <typename Rule, int pieces>
void launch_pieces(Launch& launch, const typename Rule::Attributes& attributes,
                   const SweepOperands& o, double* sums, int64_t blocks) {
  // slots of a length that four divides are as aligned as the arena's part
  const auto start = [&](auto* kernel) {
    launch.kernel(kernel, blocks, kThreads, attributes, o, sums, launch.state());
  };
  if (o.n % 4 == 0) return start(sweep_kernel<Rule, 4, pieces>);
  if (o.n % 2 == 0) return start(sweep_kernel<Rule, 2, pieces>);
  start(sweep_kernel<Rule, 1, pieces>);
}

template <typename Rule>
void launch_rule(Launch& launch, const void* attributes, const SweepOperands& o) {
  const auto& values = *static_cast<const typename Rule::Attributes*>(attributes);
  const int64_t tiles = ops::sweep_tiles(o.n);
  if (tiles >= kFewTiles) return launch_pieces<Rule, 1>(launch, values, o, nullptr, tiles);
  const int64_t blocks = ceil_div(o.n, ops::kSweepTile / kPiecesOfFew);
  auto* const sums = launch.has_input(3) ? launch.workspace<double>(blocks) : nullptr;
  launch_pieces<Rule, kPiecesOfFew>(launch, values, o, sums, blocks);
  if (o.squares == nullptr) return;
  launch.kernel(join_kernel, ceil_div(tiles, kJoinThreads), kJoinThreads,
                static_cast<const double*>(sums), blocks, o.squares, tiles);
}

template <bool momentum>
void launch_rmsprop(Launch& launch, const ops::RmsProp::Attributes& a, const SweepOperands& o) {
  if (a.centered) return launch_rule<RmsPropRule<momentum, true>>(launch, &a, o);
  launch_rule<RmsPropRule<momentum, false>>(launch, &a, o);
}

void launch_node(Launch& launch) {
  const SweepOperands operands{launch.in(0), launch.in(1), launch.in(2), launch.in(3),
                               launch.input(0).numel};
  launch_sweep(launch, launch.op(), &launch.attributes<std::byte>(), operands);
}

}  // namespace

void launch_sweep(Launch& launch, Op optimizer, const void* attributes, const SweepOperands& o) {
  if (optimizer == Op::sgd) {
    const bool momentum = static_cast<const ops::Sgd::Attributes*>(attributes)->momentum != 0.0;
    return momentum ? launch_rule<SgdRule<true>>(launch, attributes, o)
                    : launch_rule<SgdRule<false>>(launch, attributes, o);
  }
  if (optimizer == Op::adam) {
    const auto& adam = *static_cast<const ops::Adam::Attributes*>(attributes);
    if (adam.weight_decay == 0.0) return launch_rule<AdamRule<Decay::kNone>>(launch, attributes, o);
    return adam.decoupled ? launch_rule<AdamRule<Decay::kDecoupled>>(launch, attributes, o)
                          : launch_rule<AdamRule<Decay::kCoupled>>(launch, attributes, o);
  }
  if (optimizer == Op::rmsprop) {
    const auto& rmsprop = *static_cast<const ops::RmsProp::Attributes*>(attributes);
    return rmsprop.momentum != 0.0 ? launch_rmsprop<true>(launch, rmsprop, o)
                                   : launch_rmsprop<false>(launch, rmsprop, o);
  }
  if (optimizer == Op::lion) return launch_rule<LionRule>(launch, attributes, o);
  launch_rule<AdagradRule>(launch, attributes, o);
}

void launch_sgd(Launch& launch) { launch_node(launch); }
void launch_adam(Launch& launch) { launch_node(launch); }
void launch_rmsprop(Launch& launch) { launch_node(launch); }
void launch_adagrad(Launch& launch) { launch_node(launch); }
void launch_lion(Launch& launch) { launch_node(launch); }

}  // namespace tandem::cuda
