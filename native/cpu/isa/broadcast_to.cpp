// broadcastTo: x repeated along axes of length 1. Runs of the output are copies of a run of x, or
// one element repeated; tiles are ranges of the output.
#include "core/ops/broadcast_to.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct BroadcastParams {
  int64_t total;
  Walk outer;  // all dimensions of the output but the last, with x's strides
  int64_t run;
  bool repeat;  // the last dimension repeats one element
};

void broadcast_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<BroadcastParams>(params);
  const auto* x = static_cast<const uint32_t*>(operands[0]);
  auto* out = static_cast<uint32_t*>(operands[1]);
  const Range range = piece(tile, kMoveTile, p.total);
  Odometer row = odometer_at(p.outer, range.begin / p.run);
  int64_t column = range.begin % p.run;
  for (int64_t at = range.begin; at < range.end;) {
    const int64_t n = least(p.run - column, range.end - at);
    if (p.repeat) {
      const uint32_t value = x[row.offset];
      for (int64_t i = 0; i < n; ++i) out[at + i] = value;
    } else {
      copy_words(out + at, x + row.offset + column, n);
    }
    at += n;
    column = 0;
    advance(p.outer, row);
  }
}

}  // namespace

void launch_broadcastTo(const NodeView& node, Emitter& emit) {
  const Tensor& x = *node.inputs[0];
  const Tensor& out = *node.outputs[0];
  Walk walk{};
  for (int32_t i = 0; i < out.rank; ++i) {
    const int32_t axis = i - (out.rank - x.rank);
    const bool kept = axis >= 0 && x.dims[axis] == out.dims[i];
    add_dim(walk, out.dims[i], kept ? stride_of(x, axis) : 0);
  }
  BroadcastParams p{out.numel, walk, 1, false};
  if (walk.rank > 0) {
    --p.outer.rank;
    p.run = walk.dims[p.outer.rank];
    p.repeat = walk.strides[p.outer.rank] == 0;
  }
  const auto n = static_cast<double>(p.total);
  const double rows = p.run > 0 ? n / static_cast<double>(p.run) : 0.0;
  emit_step(emit, broadcast_tile, p, ceil_div(p.total, kMoveTile),
            20.0 + kMoveCost * n + 3.0 * rows);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
