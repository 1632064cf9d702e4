// pooledConv: where the kernels below have the pixels of a window at hand, their maxima alone are
// written; elsewhere one step follows the other.
#include "core/ops/pooled_conv.h"

#include "cpu/isa/pool.h"
#include "cpu/isa/winograd.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

/// The tiles of whole windows.
TileGrid window_tiles(const ConvShape& s) {
  TileGrid grid = forward_tiles(s);
  grid.tile_rows = s.y_rows / 2;
  grid.tile_columns = s.y_columns / 2;
  grid.out_rows = 2 * grid.tile_rows;
  grid.out_columns = 2 * grid.tile_columns;
  return grid;
}

}  // namespace

void launch_pooledConv(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::PooledConv::Attributes>(node);
  const ConvShape s = conv_shape(*node.inputs[0], *node.inputs[1], attributes.conv);
  ops::FusedConv::Attributes fused = {};
  fused.conv = attributes.conv;
  fused.activation = attributes.relu ? static_cast<int32_t>(Op::relu) : -1;
  GatheredProduct product = product_with_epilogue(fused, node);
  set_forward_shape(product, s);
  if (is_shallow(s)) {
    emit_shallow_maxima(product, s, emit);
  } else if (is_winograd(s)) {
    const TileGrid grid = window_tiles(s);
    product.maxima = true;
    product.bf16 = s.bf16;
    if (has_few_tiles(s, grid)) {
      emit_few_tiles(product, grid, emit);
    } else {
      emit_winograd(product, grid, false, emit);
    }
  } else {
    const int64_t planes = s.batch * s.groups * s.out;
    product.y = emit.workspace(planes * s.y_rows * s.y_columns * 4);
    emit_convolution(product, s, emit);
    emit_pair_maxima({planes, s.y_rows, s.y_columns, product.y, node.input_count}, emit);
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
