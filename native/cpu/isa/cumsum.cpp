// cumsum along an axis of x, seen as [outer, length, inner], forwards or backwards. Sums are kept
// in double precision, as PyTorch does: their error does not grow with the length. Tiles are ranges
// of outer and of inner, which no sum crosses; within one, neighbours along inner, or a few rows if
// there are none, are summed side by side.
#include "core/ops/cumsum.h"

#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int64_t kBlock = 128;  // neighbours along inner
constexpr int64_t kRows = 4;     // rows side by side, which hide the latency of an addition

struct ScanParams {
  int64_t outer, length, inner;
  int64_t blocks;    // of inner
  int64_t per_tile;  // of outer
  bool reverse;
};

TANDEM_INLINE int64_t at(const ScanParams& p, int64_t i) {
  return p.reverse ? p.length - 1 - i : i;
}

/// `rows` neighbouring rows along which the axis runs.
template <int64_t rows>
TANDEM_INLINE void scan_rows(const ScanParams& p, const float* x, float* y) {
  double sum[rows] = {};
  for (int64_t i = 0; i < p.length; ++i) {
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t place = r * p.length + at(p, i);
      sum[r] += static_cast<double>(x[place]);
      y[place] = static_cast<float>(sum[r]);
    }
  }
}

void scan_block(const ScanParams& p, const float* x, float* y, int64_t n) {
  double sum[kBlock] = {};
  for (int64_t i = 0; i < p.length; ++i) {
    const float* from = x + at(p, i) * p.inner;
    float* to = y + at(p, i) * p.inner;
    for (int64_t j = 0; j < n; ++j) {
      sum[j] += static_cast<double>(from[j]);
      to[j] = static_cast<float>(sum[j]);
    }
  }
}

void scan_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<ScanParams>(params);
  const auto* x = static_cast<const float*>(operands[0]);
  auto* y = static_cast<float*>(operands[1]);
  const Range columns = piece(tile % p.blocks, kBlock, p.inner);
  const Range rows = piece(tile / p.blocks, p.per_tile, p.outer);
  const int64_t size = p.length * p.inner;
  int64_t o = rows.begin;
  if (p.inner == 1) {
    for (; o + kRows <= rows.end; o += kRows) scan_rows<kRows>(p, x + o * size, y + o * size);
    for (; o < rows.end; ++o) scan_rows<1>(p, x + o * size, y + o * size);
    return;
  }
  for (; o < rows.end; ++o) {
    const int64_t start = o * size + columns.begin;
    scan_block(p, x + start, y + start, columns.end - columns.begin);
  }
}

}  // namespace

void launch_cumsum(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::CumSum::Attributes>(node);
  const Tensor& x = *node.inputs[0];
  if (x.numel == 0) return;
  ScanParams p{};
  p.length = x.dims[attributes.axis];
  p.inner = stride_of(x, attributes.axis);
  p.outer = x.numel / (p.length * p.inner);
  p.blocks = ceil_div(p.inner, kBlock);
  p.per_tile = most(1, kMoveTile / (p.length * least(p.inner, kBlock)));
  p.reverse = attributes.reverse;
  emit_step(emit, scan_tile, p, ceil_div(p.outer, p.per_tile) * p.blocks,
            20.0 + (p.inner == 1 ? 0.8 : 0.4) * static_cast<double>(x.numel));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
