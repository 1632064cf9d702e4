// flip of 4-byte elements of any type along an axis of x, seen as [outer, length, inner]. Tiles are
// ranges of the output, whatever its shape.
#include "core/ops/flip.h"

#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct FlipParams {
  int64_t total, length, inner;
};

/// Rows of single elements, from the last one on.
void flip_elements(const FlipParams& p, const uint32_t* in, uint32_t* out, Range range) {
  int64_t place = range.begin % p.length;
  for (int64_t at = range.begin; at < range.end; place = 0) {
    const int64_t n = least(p.length - place, range.end - at);
    const uint32_t* from = in + (at - place) + (p.length - 1 - place);
    for (int64_t i = 0; i < n; ++i) out[at + i] = from[-i];
    at += n;
  }
}

void flip_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<FlipParams>(params);
  const auto* in = static_cast<const uint32_t*>(operands[0]);
  auto* out = static_cast<uint32_t*>(operands[1]);
  const Range range = piece(tile, kMoveTile, p.total);
  if (p.inner == 1) {
    flip_elements(p, in, out, range);
    return;
  }
  int64_t skip = range.begin % p.inner;
  int64_t place = range.begin / p.inner % p.length;
  for (int64_t at = range.begin; at < range.end; skip = 0) {
    const int64_t n = least(p.inner - skip, range.end - at);
    copy_words(out + at, in + at + (p.length - 1 - 2 * place) * p.inner, n);
    at += n;
    if (++place == p.length) place = 0;
  }
}

}  // namespace

void launch_flip(const NodeView& node, Emitter& emit) {
  const Tensor& x = *node.inputs[0];
  if (x.numel == 0) return;
  const int64_t axis = attributes_of<ops::Flip::Attributes>(node).axis;
  const FlipParams p{x.numel, x.dims[axis], stride_of(x, axis)};
  const int64_t run = p.inner > 1 ? p.inner : p.length;
  emit_step(emit, flip_tile, p, ceil_div(p.total, kMoveTile),
            20.0 + kMoveCost * static_cast<double>(p.total) +
                6.0 * static_cast<double>(p.total) / static_cast<double>(run));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
