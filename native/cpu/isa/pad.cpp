// pad: x between elements of one value. Axes that nothing is added to behind the last padded one
// are merged into it, so that a row is: elements before, elements of x, elements after. A row whose
// place on another axis is outside of x is all padding.
#include "core/ops/pad.h"

#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct PadParams {
  int64_t total;                // elements of the output
  int64_t row, before, length;  // of the output's row: elements, padding in front, elements of x
  int32_t rank;                 // axes of rows
  int64_t dims[kMaxRank];       // of the output
  int64_t starts[kMaxRank];     // where x begins on each
  int64_t lengths[kMaxRank];    // of x
  uint32_t value;
};

TANDEM_INLINE void fill(uint32_t* to, uint32_t value, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = value;
}

/// The row of x behind a row of the output, or -1 for padding alone.
int64_t source_row(const PadParams& p, int64_t row) {
  int64_t source = 0;
  int64_t stride = 1;
  for (int32_t i = p.rank; i-- > 0;) {
    const int64_t at = row % p.dims[i] - p.starts[i];
    row /= p.dims[i];
    if (at < 0 || at >= p.lengths[i]) return -1;
    source += at * stride;
    stride *= p.lengths[i];
  }
  return source;
}

void pad_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<PadParams>(params);
  const auto* x = static_cast<const uint32_t*>(operands[0]);
  auto* y = static_cast<uint32_t*>(operands[1]);
  const Range range = piece(tile, kMoveTile, p.total);
  for (int64_t row = range.begin / p.row; row * p.row < range.end; ++row) {
    const Range all{most(range.begin, row * p.row), least(range.end, (row + 1) * p.row)};
    const int64_t source = source_row(p, row);
    const int64_t start = row * p.row + p.before;
    const int64_t first = source < 0 ? all.end : least(most(all.begin, start), all.end);
    const int64_t last = source < 0 ? all.end : most(first, least(start + p.length, all.end));
    fill(y + all.begin, p.value, first - all.begin);
    if (last > first) copy_words(y + first, x + source * p.length + (first - start), last - first);
    fill(y + last, p.value, all.end - last);
  }
}

uint32_t bits_of(double value, DType dtype) {
  uint32_t out = 0;
  if (dtype == DType::kInt32) {
    out = static_cast<uint32_t>(static_cast<int32_t>(value));
  } else {
    const auto number = static_cast<float>(value);
    std::memcpy(&out, &number, sizeof out);
  }
  return out;
}

}  // namespace

void launch_pad(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::PadAttributes>(node);
  const Tensor& x = *node.inputs[0];
  PadParams p{};
  p.total = node.outputs[0]->numel;
  p.value = bits_of(attributes.value, x.dtype);
  int32_t last = x.rank - 1;  // the axis that a row is made of
  int64_t inner = 1;
  while (last > 0 && attributes.before.values[last] == 0 && attributes.after.values[last] == 0)
    inner *= x.dims[last--];
  p.rank = last > 0 ? last : 0;
  for (int32_t i = 0; i < p.rank; ++i) {
    p.dims[i] = node.outputs[0]->dims[i];
    p.starts[i] = attributes.before.values[i];
    p.lengths[i] = x.dims[i];
  }
  p.row = inner;
  p.length = inner;
  if (last >= 0) {
    p.row *= node.outputs[0]->dims[last];
    p.length *= x.dims[last];
    p.before = attributes.before.values[last] * inner;
  }
  emit_step(emit, pad_tile, p, ceil_div(p.total, kMoveTile),
            20.0 + kMoveCost * static_cast<double>(p.total) +
                6.0 * static_cast<double>(p.total) / static_cast<double>(most(p.row, 1)));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
