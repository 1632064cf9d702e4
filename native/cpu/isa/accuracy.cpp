// accuracy: the share of rows whose first largest entry is at the class number `target`, or, with
// one class, whose sign agrees with it. Rows of a negative target do not count; without any the
// share is NaN. A row that holds NaN is wrong. Tiles of rows count, one step divides.
#include "core/ops/accuracy.h"

#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int64_t kTile = 16384;  // elements, about

struct AccuracyParams {
  int64_t rows, classes, per_tile, tiles;
  int32_t counts;  // operand: hits and rows that count, by tile
  bool float_target;
};

TANDEM_INLINE float largest_of(const float* x, int64_t n, float start) {
  Vec m = set1(start);
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) m = max_(m, load(x + i));
  if (i < n) m = max_(m, keep_first(load_partial(x + i, n - i), n - i, m));
  return reduce_max(m);
}

/// Whether the first largest of `n` entries is at `target`.
bool hit(const float* x, int64_t n, int64_t target) {
  if (target >= n) return false;
  const float value = x[target];
  if (!(largest_of(x, n, value) == value)) return false;
  return target == 0 || largest_of(x, target, -__builtin_huge_valf()) < value;
}

void count_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<AccuracyParams>(params);
  const auto* x = static_cast<const float*>(operands[0]);
  int64_t hits = 0;
  int64_t counted = 0;
  const Range range = piece(tile, p.per_tile, p.rows);
  for (int64_t row = range.begin; row < range.end; ++row) {
    // As a double: any int32 and float is one, and a float target need not be a whole number.
    const double target = p.float_target
                              ? static_cast<double>(static_cast<const float*>(operands[1])[row])
                              : static_cast<double>(static_cast<const int32_t*>(operands[1])[row]);
    if (target < 0.0) continue;
    ++counted;
    if (p.classes == 1) {
      hits += !__builtin_isnan(x[row]) && target == (x[row] > 0.0F ? 1.0 : 0.0) ? 1 : 0;
    } else if (target < static_cast<double>(p.classes)) {
      const auto whole = static_cast<int64_t>(target);
      hits += static_cast<double>(whole) == target && hit(x + row * p.classes, p.classes, whole)
                  ? 1
                  : 0;
    }
  }
  auto* counts = static_cast<int64_t*>(operands[p.counts]) + 2 * tile;
  counts[0] = hits;
  counts[1] = counted;
}

void share_tile(const void* params, void* const* operands, int64_t, const TileContext&) {
  const auto& p = params_of<AccuracyParams>(params);
  const auto* counts = static_cast<const int64_t*>(operands[p.counts]);
  int64_t hits = 0;
  int64_t counted = 0;
  for (int64_t i = 0; i < p.tiles; ++i) {
    hits += counts[2 * i];
    counted += counts[2 * i + 1];
  }
  *static_cast<float*>(operands[2]) =
      static_cast<float>(static_cast<double>(hits) / static_cast<double>(counted));
}

}  // namespace

void launch_accuracy(const NodeView& node, Emitter& emit) {
  const Tensor& x = *node.inputs[0];
  AccuracyParams p{};
  p.classes = x.dims[x.rank - 1];
  p.rows = x.numel / p.classes;
  p.per_tile = ceil_div(kTile, p.classes + 8);
  p.tiles = ceil_div(p.rows, p.per_tile);
  p.float_target = node.inputs[1]->dtype == DType::kFloat32;
  p.counts = emit.workspace(most(p.tiles, 1) * 16);
  emit_step(emit, count_tile, p, p.tiles,
            10.0 + 0.1 * static_cast<double>(x.numel) + 8.0 * static_cast<double>(p.rows));
  emit_step(emit, share_tile, p, 1, 10.0 + static_cast<double>(p.tiles));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
