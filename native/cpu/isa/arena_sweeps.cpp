// accumulateGradients, clipGradients, unscaleGradients, averageParameters: elementwise sweeps over
// arenas, in place.
#include "core/ops/arena_sweeps.h"

#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct ArenaParams {
  int64_t n;
  float factor;  // clipGradients: the limit; averageParameters: the weight of what is new
};

/// update(target, source) of each vector; the source is that of operand 1, if there is one.
template <bool with_source, typename Update>
TANDEM_INLINE void sweep(void* const* operands, Range range, const Update& update) {
  auto* target = static_cast<float*>(operands[0]);
  const auto* source = with_source ? static_cast<const float*>(operands[1]) : target;
  int64_t i = range.begin;
  for (; i + kWidth <= range.end; i += kWidth)
    store(target + i, update(load(target + i), load(source + i)));
  const int64_t n = range.end - i;
  if (n <= 0) return;
  store_partial(target + i, update(load_partial(target + i, n), load_partial(source + i, n)), n);
}

void accumulate_tile(const void* params, void* const* operands, int64_t tile,
                     const TileContext& context) {
  const Range range = piece(tile, kMoveTile, params_of<ArenaParams>(params).n);
  const float weight = context.state->weight;
  if (context.state->part == 0) {
    sweep<true>(operands, range, [weight](Vec, Vec g) { return weight == 0.0F ? zero() : g; });
  } else if (weight != 0.0F) {
    const Vec share = set1(weight);
    sweep<true>(operands, range, [share](Vec mean, Vec g) { return fma(share, g - mean, mean); });
  }
}

void clip_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<ArenaParams>(params);
  const Vec high = set1(p.factor);
  const Vec low = set1(-p.factor);
  sweep<false>(operands, piece(tile, kMoveTile, p.n),
               [&](Vec g, Vec) { return max_(min_(g, high), low); });
}

void unscale_tile(const void* params, void* const* operands, int64_t tile,
                  const TileContext& context) {
  const double scale = static_cast<double>(context.state->loss_scale);
  const Vec inverse = set1(static_cast<float>(1.0 / scale));
  sweep<false>(operands, piece(tile, kMoveTile, params_of<ArenaParams>(params).n),
               [inverse](Vec g, Vec) { return g * inverse; });
}

void average_tile(const void* params, void* const* operands, int64_t tile,
                  const TileContext& context) {
  const auto& p = params_of<ArenaParams>(params);
  if (context.state->skip != 0) return;
  const Range range = piece(tile, kMoveTile, p.n);
  if (context.state->step <= 1) {
    sweep<true>(operands, range, [](Vec, Vec now) { return now; });
    return;
  }
  const Vec weight = set1(p.factor);
  sweep<true>(operands, range, [&](Vec mean, Vec now) { return fma(weight, now - mean, mean); });
}

void launch(TileFn fn, const NodeView& node, Emitter& emit, double factor) {
  const ArenaParams p{node.inputs[0]->numel, static_cast<float>(factor)};
  emit_step(emit, fn, p, ceil_div(p.n, kMoveTile), 20.0 + kMoveCost * static_cast<double>(p.n));
}

}  // namespace

void launch_accumulateGradients(const NodeView& node, Emitter& emit) {
  launch(accumulate_tile, node, emit, 0.0);
}

void launch_clipGradients(const NodeView& node, Emitter& emit) {
  launch(clip_tile, node, emit, attributes_of<ops::ClipGradients::Attributes>(node).max_value);
}

void launch_unscaleGradients(const NodeView& node, Emitter& emit) {
  launch(unscale_tile, node, emit, 0.0);
}

void launch_averageParameters(const NodeView& node, Emitter& emit) {
  launch(average_tile, node, emit,
         1.0 - attributes_of<ops::AverageParameters::Attributes>(node).decay);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
