// Moves 4-byte elements of any type along an axis: concat, slice, sliceGrad, copy. Each is seen as
// [outer, axis, inner]; tiles are ranges of the output, whatever its shape. reshape and flatten are
// aliases: nothing runs.
#include "core/ops/concat.h"
#include "core/ops/slice.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

// ---- copy --------------------------------------------------------------------------------------

void copy_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const Range range = piece(tile, kMoveTile, params_of<int64_t>(params));
  copy_words(static_cast<uint32_t*>(operands[1]) + range.begin,
             static_cast<const uint32_t*>(operands[0]) + range.begin, range.end - range.begin);
}

// ---- concat ------------------------------------------------------------------------------------

constexpr int32_t kMaxParts = ops::Concat::kMaxInputs;

struct ConcatParams {
  int64_t total;  // elements of the output
  int64_t row;    // axis * inner of the output
  int64_t parts;
  int64_t ends[kMaxParts];  // of each input's part of a row
};

void concat_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<ConcatParams>(params);
  auto* out = static_cast<uint32_t*>(operands[p.parts]);
  const Range range = piece(tile, kMoveTile, p.total);
  int64_t row = range.begin / p.row;
  int64_t column = range.begin % p.row;
  int64_t part = 0;
  while (p.ends[part] <= column) ++part;
  for (int64_t at = range.begin; at < range.end;) {
    const int64_t start = part == 0 ? 0 : p.ends[part - 1];
    const int64_t length = p.ends[part] - start;
    const int64_t n = least(p.ends[part] - column, range.end - at);
    copy_words(out + at,
               static_cast<const uint32_t*>(operands[part]) + row * length + (column - start), n);
    at += n;
    column += n;
    if (column == p.row) {
      ++row;
      column = 0;
      part = 0;
    }
    while (column < p.row && p.ends[part] <= column) ++part;
  }
}

// ---- slice and its gradient --------------------------------------------------------------------

/// A row of the whole tensor has `count` segments of `length` elements, the first at `start` and
/// each `step` after the one before.
struct SliceParams {
  int64_t total;  // elements of the output
  int64_t row;    // of the whole tensor
  int64_t start, step, count, length;
};

void slice_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<SliceParams>(params);
  const auto* in = static_cast<const uint32_t*>(operands[0]);
  auto* out = static_cast<uint32_t*>(operands[1]);
  const Range range = piece(tile, kMoveTile, p.total);
  int64_t segment = range.begin / p.length;
  int64_t skip = range.begin % p.length;
  int64_t row = segment / p.count;
  segment %= p.count;
  for (int64_t at = range.begin; at < range.end;) {
    const uint32_t* from = in + row * p.row + p.start + segment * p.step + skip;
    if (p.length == 1) {
      const int64_t n = least(p.count - segment, range.end - at);
      for (int64_t i = 0; i < n; ++i) out[at + i] = from[i * p.step];
      at += n;
      segment += n;
    } else {
      const int64_t n = least(p.length - skip, range.end - at);
      copy_words(out + at, from, n);
      at += n;
      skip = 0;
      ++segment;
    }
    if (segment == p.count) {
      segment = 0;
      ++row;
    }
  }
}

void slice_grad_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<SliceParams>(params);
  const auto* dy = static_cast<const uint32_t*>(operands[0]);
  auto* dx = static_cast<uint32_t*>(operands[1]);
  const Range range = piece(tile, kMoveTile, p.total);
  std::memset(dx + range.begin, 0, static_cast<size_t>(range.end - range.begin) * 4);
  for (int64_t row = range.begin / p.row; row * p.row < range.end; ++row) {
    const int64_t base = row * p.row + p.start;
    const int64_t before = range.begin - base - p.length + 1;  // segments that end before the tile
    for (int64_t segment = before > 0 ? ceil_div(before, p.step) : 0; segment < p.count;
         ++segment) {
      const int64_t at = base + segment * p.step;
      if (at >= range.end) break;
      const int64_t first_word = most(at, range.begin);
      const int64_t last_word = least(at + p.length, range.end);
      copy_words(dx + first_word, dy + (row * p.count + segment) * p.length + (first_word - at),
                 last_word - first_word);
    }
  }
}

/// `whole` is the tensor that is sliced; the output has `total` elements.
SliceParams slice_params(const ops::SliceAttributes& attributes, const Tensor& whole,
                         int64_t total) {
  const int64_t inner = stride_of(whole, attributes.axis);
  const int64_t count = ceil_div(attributes.end - attributes.start, attributes.step);
  SliceParams p{total,
                whole.dims[attributes.axis] * inner,
                attributes.start * inner,
                attributes.step * inner,
                count,
                inner};
  if (attributes.step == 1) {  // one segment a row
    p.length *= count;
    p.step = most(p.length, 1);
    p.count = count > 0 ? 1 : 0;
  }
  return p;
}

double move_cost(int64_t elements) { return 20.0 + kMoveCost * static_cast<double>(elements); }

}  // namespace

void launch_copy(const NodeView& node, Emitter& emit) {
  const int64_t n = node.outputs[0]->numel;
  emit_step(emit, copy_tile, n, ceil_div(n, kMoveTile), move_cost(n));
}

void launch_reshape(const NodeView&, Emitter&) {}
void launch_flatten(const NodeView&, Emitter&) {}

void launch_concat(const NodeView& node, Emitter& emit) {
  const int64_t axis = attributes_of<ops::Concat::Attributes>(node).axis;
  const Tensor& out = *node.outputs[0];
  ConcatParams p;
  p.total = out.numel;
  p.row = 0;
  p.parts = node.input_count;
  for (int32_t i = 0; i < node.input_count; ++i) {
    p.row += node.inputs[i]->dims[axis] * stride_of(*node.inputs[i], axis);
    p.ends[i] = p.row;
  }
  const size_t bytes =
      offsetof(ConcatParams, ends) + static_cast<size_t>(p.parts) * sizeof(int64_t);
  if (p.total > 0)
    emit.step(concat_tile, &p, bytes, ceil_div(p.total, kMoveTile), move_cost(p.total));
}

void launch_slice(const NodeView& node, Emitter& emit) {
  const int64_t n = node.outputs[0]->numel;
  const SliceParams p = slice_params(attributes_of<ops::SliceAttributes>(node), *node.inputs[0], n);
  emit_step(emit, slice_tile, p, ceil_div(n, kMoveTile), move_cost(n));
}

void launch_sliceGrad(const NodeView& node, Emitter& emit) {
  const int64_t n = node.outputs[0]->numel;
  const SliceParams p =
      slice_params(attributes_of<ops::SliceAttributes>(node), *node.outputs[0], n);
  emit_step(emit, slice_grad_tile, p, ceil_div(n, kMoveTile), move_cost(n));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
