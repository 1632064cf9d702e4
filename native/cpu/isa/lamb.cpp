// lamb: You et al. (2020), algorithm 2, for one parameter. Tiles move the moments on and compute
// Adam's direction with decoupled weight decay, and the squares of it and of the parameter; one
// step makes of these the factor that gives it the parameter's length, or 1 where either has none;
// tiles move the parameter.
#include "core/ops/optimizer.h"
#include "cpu/isa/denormals.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

using ops::kSweepTile;
constexpr int64_t kBlock = 1024;  // elements whose squares add up in float

struct LambParams {
  int64_t n;
  ops::Lamb::Attributes attributes;
  int32_t direction, sums;  // operands: [n] floats; two doubles a tile, the first of which becomes
                            // the factor
  bool measures;            // operand 3 takes the sum of the gradients' squares of each tile
};

bool skips(const LambParams& p, const TileContext& context) {
  return !p.measures && context.state->skip != 0;
}

TANDEM_INLINE Vec constant(double x) { return set1(static_cast<float>(x)); }

void direct_tile(const void* params, void* const* operands, int64_t tile,
                 const TileContext& context) {
  const auto& p = params_of<LambParams>(params);
  if (skips(p, context)) return;
  const FlushDenormals flush;
  const auto& a = p.attributes;
  const auto step = static_cast<double>(context.state->step);
  const Vec weight1 = constant(1.0 - a.beta1);
  const Vec weight2 = constant(1.0 - a.beta2);
  const Vec scale1 = constant(1.0 / (1.0 - __builtin_pow(a.beta1, step)));
  const Vec scale2 = constant(1.0 / (1.0 - __builtin_pow(a.beta2, step)));
  const Vec epsilon = constant(a.epsilon);
  const Vec decay = constant(a.weight_decay);
  const Vec clip = set1(context.state->clip);
  const auto* parameters = static_cast<const float*>(operands[0]);
  const auto* gradients = static_cast<const float*>(operands[1]);
  auto* first = static_cast<float*>(operands[2]);
  float* second = first + p.n;
  auto* direction = static_cast<float*>(operands[p.direction]);
  double totals[3] = {0.0, 0.0, 0.0};
  const Range range = piece(tile, kSweepTile, p.n);
  for (int64_t i = range.begin; i < range.end;) {
    Vec squares[3] = {zero(), zero(), zero()};
    const int64_t end = least(i + kBlock, range.end);
    for (; i < end; i += kWidth) {
      const int64_t n = least(end - i, kWidth);
      const Vec raw = load_partial(gradients + i, n);
      const Vec g = raw * clip;
      const Vec x = load_partial(parameters + i, n);
      Vec m = load_partial(first + i, n);
      Vec v = load_partial(second + i, n);
      m = fma(weight1, g - m, m);
      v = fma(weight2, g * g - v, v);
      store_partial(first + i, m, n);
      store_partial(second + i, v, n);
      const Vec d = fma(decay, x, m * scale1 / (sqrt_(v * scale2) + epsilon));
      store_partial(direction + i, d, n);
      squares[0] = fma(x, x, squares[0]);
      squares[1] = fma(d, d, squares[1]);
      squares[2] = fma(raw, raw, squares[2]);
    }
    for (int k = 0; k < 3; ++k) totals[k] += static_cast<double>(reduce_add(squares[k]));
  }
  auto* sums = static_cast<double*>(operands[p.sums]);
  sums[2 * tile] = totals[0];
  sums[2 * tile + 1] = totals[1];
  if (p.measures) static_cast<float*>(operands[3])[tile] = static_cast<float>(totals[2]);
}

void factor_tile(const void* params, void* const* operands, int64_t, const TileContext& context) {
  const auto& p = params_of<LambParams>(params);
  if (skips(p, context)) return;
  auto* sums = static_cast<double*>(operands[p.sums]);
  double parameter = 0.0;
  double direction = 0.0;
  for (int64_t i = 0; i < ops::sweep_tiles(p.n); ++i) {
    parameter += sums[2 * i];
    direction += sums[2 * i + 1];
  }
  const bool both = parameter > 0.0 && direction > 0.0;
  sums[0] = both ? __builtin_sqrt(parameter / direction) : 1.0;
}

void move_tile(const void* params, void* const* operands, int64_t tile,
               const TileContext& context) {
  const auto& p = params_of<LambParams>(params);
  if (skips(p, context)) return;
  const FlushDenormals flush;
  const double rate = context.state->learning_rate * p.attributes.rate_factor;
  const Vec factor = constant(-rate * static_cast<const double*>(operands[p.sums])[0]);
  auto* parameters = static_cast<float*>(operands[0]);
  const auto* direction = static_cast<const float*>(operands[p.direction]);
  const Range range = piece(tile, kSweepTile, p.n);
  for (int64_t i = range.begin; i < range.end; i += kWidth) {
    const int64_t n = least(range.end - i, kWidth);
    const Vec moved = fma(factor, load_partial(direction + i, n), load_partial(parameters + i, n));
    store_partial(parameters + i, moved, n);
  }
}

}  // namespace

void launch_lamb(const NodeView& node, Emitter& emit) {
  LambParams p{};
  p.n = node.inputs[0]->numel;
  p.attributes = attributes_of<ops::Lamb::Attributes>(node);
  p.measures = node.input_count > 3 && node.inputs[3] != nullptr;
  const int64_t tiles = ops::sweep_tiles(p.n);
  p.direction = emit.workspace(most(p.n, 1) * 4);
  p.sums = emit.workspace(most(tiles, 1) * 16);
  const double per_element = kWidth == 1 ? 4.0 : 0.3;
  const auto elements = static_cast<double>(p.n);
  emit_step(emit, direct_tile, p, tiles, 50.0 + per_element * elements);
  emit_step(emit, factor_tile, p, 1, 10.0 + 2.0 * static_cast<double>(tiles));
  emit_step(emit, move_tile, p, tiles, 20.0 + kMoveCost * elements);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
