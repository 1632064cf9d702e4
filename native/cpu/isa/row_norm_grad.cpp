// The gradients of layerNorm and rmsNorm. With n the length of a row, g = dy w and r the inverse
// deviation, by row:
//   layerNorm: dx = r (g - sum(g) / n - (x - mean) r^2 sum(g (x - mean)) / n)
//   rmsNorm:   dx = r (g - x r^2 sum(g x) / n)
// plus the residual where there is one, and over all rows
//   dw = sum(dy (x - mean) r), db = sum(dy).
// Tiles take some rows, four at a time, and add up their part of dw and db, while the rows are in
// the cache; a second step adds these parts in order. dx is written (=) and may lie on dy, x or the
// residual: its rows are read for the last time, element by element, before.
#include "core/ops/row_norm.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/row_sums.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int64_t kTile = 32768;     // elements, about
constexpr int64_t kMaxRows = 256;    // of a tile: float sums of dw and db stay exact enough
constexpr int64_t kMergeTile = 256;  // columns
constexpr int kTogether = 4;         // rows
constexpr int64_t kShortRow = 512;   // longer ones take turns: they fill the first cache

struct RowNormGradParams {
  int64_t rows, length;
  int64_t per_tile, tiles;  // rows
  // operands: dy, x, w (may be null), residual (may be null), mean (layerNorm), inverse
  int32_t mean, inverse, dx;
  int32_t dw, db;   // -1 where not wanted
  int32_t dw_part;  // workspaces [tiles][length]
  int32_t db_part;
};

/// What a row's dx is made of: scale (g - shift - (x - center) slope).
struct RowNumbers {
  Vec scale, shift, slope, center;
};

template <bool centered>
TANDEM_INLINE RowNumbers row_numbers(const float* dy, const float* x, const float* w, int64_t n,
                                     float mean, float inverse) {
  const Vec center = set1(mean);
  double sums[2] = {0.0, 0.0};
  const auto terms = [&](Vec g, Vec v, Vec(&out)[2]) {
    out[0] = centered ? g : zero();
    out[1] = g * (centered ? v - center : v);
  };
  if (w != nullptr) {
    add_sums(
        n,
        [&](int64_t i, int64_t m, Vec(&out)[2]) {
          terms(load_up_to(dy + i, m) * load_up_to(w + i, m), load_up_to(x + i, m), out);
        },
        sums);
  } else {
    add_sums(
        n,
        [&](int64_t i, int64_t m, Vec(&out)[2]) {
          terms(load_up_to(dy + i, m), load_up_to(x + i, m), out);
        },
        sums);
  }
  const auto r = static_cast<double>(inverse);
  const auto count = static_cast<double>(n);
  // A row of one is its mean whatever x is; g and its mean may be rounded differently.
  const float scale = centered && n == 1 ? 0.0F : inverse;
  return {set1(scale), set1(static_cast<float>(sums[0] / count)),
          set1(static_cast<float>(sums[1] * r * r / count)), center};
}

/// dx of `together` rows, and their part of dw and db added (+=) to `dw` and `db`, null where not
/// wanted.
template <bool centered, int together>
TANDEM_INLINE void rows_grad(const RowNormGradParams& p, void* const* operands, int64_t row,
                             float* dw, float* db) {
  const int64_t n = p.length;
  const float* dy = static_cast<const float*>(operands[0]) + row * n;
  const float* x = static_cast<const float*>(operands[1]) + row * n;
  const auto* w = static_cast<const float*>(operands[2]);
  const auto* residual = static_cast<const float*>(operands[3]);
  if (residual != nullptr) residual += row * n;
  const float* mean = centered ? static_cast<const float*>(operands[p.mean]) + row : nullptr;
  const float* inverse = static_cast<const float*>(operands[p.inverse]) + row;
  float* dx = static_cast<float*>(operands[p.dx]) + row * n;
  RowNumbers of[together];
  for (int k = 0; k < together; ++k) {
    of[k] =
        row_numbers<centered>(dy + k * n, x + k * n, w, n, centered ? mean[k] : 0.0F, inverse[k]);
  }
  each_vector(n, [&](int64_t i, int64_t m) {
    const Vec weight = w == nullptr ? set1(1.0F) : load_up_to(w + i, m);
    Vec dws = zero();
    Vec dbs = zero();
    for (int k = 0; k < together; ++k) {
      const int64_t at = k * n + i;
      const Vec d = load_up_to(dy + at, m);
      Vec v = load_up_to(x + at, m);
      if (centered) v = v - of[k].center;
      dws = fma(d * of[k].scale, v, dws);
      dbs += d;
      Vec g = d * weight;
      if (centered) g -= of[k].shift;
      g = minus_product(g, v, of[k].slope) * of[k].scale;
      if (residual != nullptr) g += load_up_to(residual + at, m);
      store_up_to(dx + at, g, m);
    }
    if (dw != nullptr) store_up_to(dw + i, load_up_to(dw + i, m) + dws, m);
    if (db != nullptr) store_up_to(db + i, load_up_to(db + i, m) + dbs, m);
  });
}

TANDEM_INLINE float* cleared(void* const* operands, int32_t index, int64_t tile, int64_t n) {
  if (index < 0) return nullptr;
  float* part = static_cast<float*>(operands[index]) + tile * n;
  each_vector(n, [&](int64_t i, int64_t m) { store_up_to(part + i, zero(), m); });
  return part;
}

template <bool centered>
void rows_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<RowNormGradParams>(params);
  float* dw = cleared(operands, p.dw_part, tile, p.length);
  float* db = cleared(operands, p.db_part, tile, p.length);
  const Range rows = piece(tile, p.per_tile, p.rows);
  int64_t row = rows.begin;
  for (; p.length <= kShortRow && row + kTogether <= rows.end; row += kTogether)
    rows_grad<centered, kTogether>(p, operands, row, dw, db);
  for (; row < rows.end; ++row) rows_grad<centered, 1>(p, operands, row, dw, db);
}

/// Adds the tiles' parts of some columns.
void merge_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<RowNormGradParams>(params);
  const Range columns = piece(tile, kMergeTile, p.length);
  const auto merge = [&](int32_t from, int32_t to) {
    if (to < 0) return;
    const float* parts = static_cast<const float*>(operands[from]) + columns.begin;
    float* out = static_cast<float*>(operands[to]) + columns.begin;
    each_vector(columns.end - columns.begin, [&](int64_t i, int64_t m) {
      Vec sums[4] = {zero(), zero(), zero(), zero()};
      for (int64_t t = 0; t < p.tiles; ++t) sums[t % 4] += load_up_to(parts + t * p.length + i, m);
      store_up_to(out + i, (sums[0] + sums[1]) + (sums[2] + sums[3]), m);
    });
  };
  merge(p.dw_part, p.dw);
  merge(p.db_part, p.db);
}

/// Rows of a tile: enough that the parts of dw and db are little beside them.
int64_t rows_per_tile(int64_t rows, int64_t length) {
  const int64_t some = least(32, most(rows / 16, 1));
  return least(most(ceil_div(kTile, length), some), kMaxRows);
}

template <bool centered>
void launch(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::RowNormGradBase::Attributes>(node);
  const Tensor& x = *node.inputs[1];
  RowNormGradParams p{};
  p.length = attributes.length;
  p.rows = x.numel / p.length;
  p.per_tile = rows_per_tile(p.rows, p.length);
  p.tiles = ceil_div(p.rows, p.per_tile);
  p.mean = centered ? 4 : -1;
  p.inverse = centered ? 5 : 4;
  p.dx = node.input_count;
  p.dw = attributes.dw ? p.dx + 1 : -1;
  p.db = attributes.db ? p.dx + (attributes.dw ? 2 : 1) : -1;
  const int64_t part = most(p.tiles, 1) * p.length * 4;
  p.dw_part = attributes.dw ? emit.workspace(part) : -1;
  p.db_part = attributes.db ? emit.workspace(part) : -1;
  const double lanes = kWidth == 1 ? 4.0 : 0.15;
  emit_step(emit, rows_tile<centered>, p, p.tiles,
            20.0 + (1.5 * kMoveCost + lanes) * static_cast<double>(x.numel) +
                40.0 * static_cast<double>(p.rows));
  if (!attributes.dw && !attributes.db) return;
  emit_step(emit, merge_tile, p, ceil_div(p.length, kMergeTile),
            20.0 + kMoveCost * static_cast<double>(2 * p.tiles * p.length));
}

}  // namespace

// Operands: dy, x, w, residual, mean, inverse; dx, dw, db; workspaces.
void launch_layerNormGrad(const NodeView& node, Emitter& emit) { launch<true>(node, emit); }
void launch_rmsNormGrad(const NodeView& node, Emitter& emit) { launch<false>(node, emit); }

}  // namespace tandem::cpu::TANDEM_ISA_NS
