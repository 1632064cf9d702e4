// gather and its gradient along an axis: x is seen as [outer, length, inner], index and y as
// [outer, count, inner]. The gradient's tiles are ranges of outer and of inner, which no sum
// crosses; each zeroes its part of dx and adds to it in the order of the axis.
#include "core/ops/gather.h"

#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct GatherParams {
  int64_t total;  // elements of index
  int64_t outer, length, count, inner;
  int64_t block, blocks;  // of inner, for the gradient
  int64_t per_tile;       // of outer, for the gradient
  uint32_t nothing;       // what a number out of range gives
};

TANDEM_INLINE bool inside(const GatherParams& p, int64_t number) {
  return number >= 0 && number < p.length;
}

void gather_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<GatherParams>(params);
  const auto* x = static_cast<const uint32_t*>(operands[0]);
  const auto* index = static_cast<const int32_t*>(operands[1]);
  auto* y = static_cast<uint32_t*>(operands[2]);
  const Range range = piece(tile, kMoveTile, p.total);
  const int64_t row = p.count * p.inner;
  // A run shares its place in outer and walks along inner, or along the axis if inner is 1.
  const int64_t run = p.inner == 1 ? p.count : p.inner;
  const int64_t step = p.inner == 1 ? 0 : 1;
  for (int64_t at = range.begin; at < range.end;) {
    const int64_t skip = at % run;
    const int64_t n = least(run - skip, range.end - at);
    const uint32_t* from = x + at / row * p.length * p.inner + step * skip;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t number = index[at + i];
      y[at + i] = inside(p, number) ? from[number * p.inner + step * i] : p.nothing;
    }
    at += n;
  }
}

void scatter_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<GatherParams>(params);
  const auto* index = static_cast<const int32_t*>(operands[0]);
  const auto* dy = static_cast<const float*>(operands[1]);
  auto* dx = static_cast<float*>(operands[2]);
  const Range columns = piece(tile % p.blocks, p.block, p.inner);
  const Range rows = piece(tile / p.blocks, p.per_tile, p.outer);
  const auto bytes = static_cast<size_t>(columns.end - columns.begin) * sizeof(float);
  for (int64_t o = rows.begin; o < rows.end; ++o) {
    float* to = dx + o * p.length * p.inner;
    for (int64_t i = 0; i < p.length; ++i) std::memset(to + i * p.inner + columns.begin, 0, bytes);
    for (int64_t i = 0; i < p.count; ++i) {
      const int64_t from = (o * p.count + i) * p.inner;
      for (int64_t j = columns.begin; j < columns.end; ++j) {
        const int64_t number = index[from + j];
        if (inside(p, number)) to[number * p.inner + j] += dy[from + j];
      }
    }
  }
}

GatherParams shape_params(const Tensor& index, int64_t axis, int64_t length) {
  GatherParams p{};
  p.total = index.numel;
  p.length = length;
  p.count = index.dims[axis];
  p.inner = stride_of(index, axis);
  p.outer = 1;
  for (int64_t i = 0; i < axis; ++i) p.outer *= index.dims[i];
  return p;
}

}  // namespace

void launch_gather(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::GatherAttributes>(node);
  GatherParams p = shape_params(*node.inputs[1], attributes.axis, attributes.length);
  p.nothing = node.inputs[0]->dtype == DType::kFloat32 ? 0x7fc00000 : 0;
  emit_step(emit, gather_tile, p, ceil_div(p.total, kMoveTile),
            20.0 + 0.7 * static_cast<double>(p.total));
}

void launch_gatherGrad(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::GatherAttributes>(node);
  GatherParams p = shape_params(*node.inputs[0], attributes.axis, attributes.length);
  const Tensor& dx = *node.outputs[0];
  if (dx.numel == 0) return;
  constexpr int64_t kBlock = 256;
  p.block = kBlock;
  p.blocks = ceil_div(p.inner, p.block);
  p.per_tile = most(1, kMoveTile / ((p.length + p.count) * least(p.block, p.inner)));
  emit_step(emit, scatter_tile, p, ceil_div(p.outer, p.per_tile) * p.blocks,
            20.0 + 1.2 * static_cast<double>(p.total) + kMoveCost * static_cast<double>(dx.numel));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
