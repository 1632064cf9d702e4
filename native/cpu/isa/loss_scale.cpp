// roundToFloat16: the nearest number of float16, held in float. lossScale: x by the step's scale of
// losses. Both element by element.
#include "core/ops/loss_scale.h"

#include "cpu/isa/kernels.h"
#include "cpu/isa/map.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct Params {
  int64_t n;
};

/// Adding 1.5 * 2^13 times the power of two of x leaves the eleven bits that float16 has, rounded
/// to nearest with halves to even; below the smallest normal number steps are those of 2^-14.
TANDEM_INLINE Vec round_to_float16(Vec x) {
  const IVec exponent = bits(x) & iset1(0x7f800000);
  const Vec shift = greater_of(from_bits(exponent), set1(0x1p-14F)) * set1(0x1.8p13F);
  const Vec near = (x + shift) - shift;
  const Vec magnitude = from_bits(bits(x) & iset1(0x7fffffff));
  return select(magnitude >= set1(65520.0F), x * set1(__builtin_inff()), near);
}

void round_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const Range range = piece(tile, kMapTile, params_of<Params>(params).n);
  const auto* x = static_cast<const float*>(operands[0]);
  auto* y = static_cast<float*>(operands[1]);
  map(x + range.begin, y + range.begin, range.end - range.begin, round_to_float16);
}

void scale_tile(const void* params, void* const* operands, int64_t tile,
                const TileContext& context) {
  const Range range = piece(tile, kMapTile, params_of<Params>(params).n);
  const auto* x = static_cast<const float*>(operands[0]);
  auto* y = static_cast<float*>(operands[1]);
  const Vec scale = set1(context.state->loss_scale);
  map(x + range.begin, y + range.begin, range.end - range.begin,
      [scale](Vec value) { return value * scale; });
}

void launch(const NodeView& node, Emitter& emit, TileFn fn) {
  const Params p{node.outputs[0]->numel};
  emit_step(emit, fn, p, tiles_of(p.n), kMoveCost * static_cast<double>(p.n));
}

}  // namespace

void launch_roundToFloat16(const NodeView& node, Emitter& emit) { launch(node, emit, round_tile); }

void launch_lossScale(const NodeView& node, Emitter& emit) { launch(node, emit, scale_tile); }

}  // namespace tandem::cpu::TANDEM_ISA_NS
