// sum, mean, max, min, variance over any axes. Where the innermost axes are reduced ("rows"), runs
// of the input fold into one number each; where they are kept ("columns"), vectors of columns add
// up row by row. The other axes, kept or reduced, are walked. Few outputs with much to reduce are
// cut into pieces whose partial results, in double, are combined in order by a step of their own.
#include "core/ops/reduce.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

/// kDistances: from the mean, whose rounding they tell; kSquares: of these.
enum class Kind { kSum, kMax, kMin, kDistances, kSquares };

constexpr int64_t kTile = 16384;    // elements that a tile reads, about
constexpr int64_t kMinStrip = 128;  // columns of a tile, where there are as many
constexpr int64_t kMaxStrip = 1024;
constexpr int64_t kNarrow = kWidth == 1 ? 16 : 4 * kWidth;
constexpr int64_t kBlock = 64;  // float additions in a row before the sum goes on in double
constexpr int64_t kCombineTile = 1024;

struct ReduceParams {
  Walk outer;     // kept axes, without the columns
  Walk inner;     // reduced axes, without the run
  int64_t width;  // of a run or of a row of columns
  int64_t rows;   // runs or rows that an output takes in: the count of `inner`
  int64_t outputs;
  int64_t per_tile;  // rows: outputs a tile; columns: columns a tile
  int64_t pieces;    // 1: tiles write the output
  int64_t piece;     // rows: elements, columns: rows of a piece
  double divisor;
  int32_t target;  // operand: the output (float) or partial results (double)
  int32_t mean;    // operand; -1: the tile computes it
};

// ---- folding -----------------------------------------------------------------------------------

constexpr bool about_mean(Kind kind) { return kind == Kind::kDistances || kind == Kind::kSquares; }

template <Kind kind>
TANDEM_INLINE float neutral() {
  return kind == Kind::kMax   ? -__builtin_huge_valf()
         : kind == Kind::kMin ? __builtin_huge_valf()
                              : 0.0F;
}

template <Kind kind>
TANDEM_INLINE Vec fold(Vec acc, Vec x, Vec mean) {
  if constexpr (kind == Kind::kSum) return acc + x;
  if constexpr (kind == Kind::kMax) return max_(acc, x);
  if constexpr (kind == Kind::kMin) return min_(acc, x);
  const Vec d = x - mean;
  return kind == Kind::kDistances ? acc + d : fma(d, d, acc);
}

/// The first `n` elements at `x`, and in the other lanes what does not change a fold.
template <Kind kind>
TANDEM_INLINE Vec load_tail(const float* x, int64_t n, Vec mean) {
  const Vec v = load_partial(x, n);
  return kind == Kind::kSum ? v : keep_first(v, n, about_mean(kind) ? mean : set1(neutral<kind>()));
}

/// Two partial folds as one.
template <Kind kind>
TANDEM_INLINE Vec join(Vec a, Vec b) {
  constexpr Kind both = about_mean(kind) ? Kind::kSum : kind;
  return fold<both>(a, b, zero());
}

template <Kind kind>
TANDEM_INLINE double join(double a, double b) {
  if constexpr (kind == Kind::kMax) return b > a || b != b ? b : a;
  if constexpr (kind == Kind::kMin) return b < a || b != b ? b : a;
  return a + b;
}

template <Kind kind>
TANDEM_INLINE double lanes(Vec x) {
  return static_cast<double>(kind == Kind::kMax   ? reduce_max(x)
                             : kind == Kind::kMin ? reduce_min(x)
                                                  : reduce_add(x));
}

/// `error`: of a variance, the mean of the distances from what its mean was rounded to; 0: none.
TANDEM_INLINE float finish(double value, double divisor, double error = 0.0) {
  const double result = value / divisor - error * error;
  return static_cast<float>(error != 0.0 && result < 0.0 ? 0.0 : result);
}

// ---- rows --------------------------------------------------------------------------------------

/// `n` elements in a run.
template <Kind kind>
double fold_run(const float* x, int64_t n, double acc, float mean_value) {
  const Vec mean = set1(mean_value);
  int64_t i = 0;
  while (n - i >= 4 * kWidth) {
    Vec v[4];
    for (int k = 0; k < 4; ++k) v[k] = set1(neutral<kind>());
    const int64_t end = least(n, i + kBlock * kWidth);
    for (; i + 4 * kWidth <= end; i += 4 * kWidth) {
      for (int k = 0; k < 4; ++k) v[k] = fold<kind>(v[k], load(x + i + k * kWidth), mean);
    }
    acc = join<kind>(acc, lanes<kind>(join<kind>(join<kind>(v[0], v[1]), join<kind>(v[2], v[3]))));
  }
  if (i < n) {
    Vec v = set1(neutral<kind>());
    for (; i + kWidth <= n; i += kWidth) v = fold<kind>(v, load(x + i), mean);
    if (i < n) v = fold<kind>(v, load_tail<kind>(x + i, n - i, mean), mean);
    acc = join<kind>(acc, lanes<kind>(v));
  }
  return acc;
}

/// Elements `range` of all those that one output takes in.
template <Kind kind>
double fold_runs(const ReduceParams& p, const float* x, Range range, float mean) {
  double acc = static_cast<double>(neutral<kind>());
  if (p.inner.rank == 0) return fold_run<kind>(x + range.begin, range.end - range.begin, acc, mean);
  if (range.begin >= range.end) return acc;
  Odometer row = odometer_at(p.inner, range.begin / p.width);
  int64_t column = range.begin % p.width;
  for (int64_t at = range.begin; at < range.end;) {
    const int64_t n = least(p.width - column, range.end - at);
    acc = fold_run<kind>(x + row.offset + column, n, acc, mean);
    at += n;
    column = 0;
    advance(p.inner, row);
  }
  return acc;
}

template <Kind kind>
void rows_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<ReduceParams>(params);
  const auto* x = static_cast<const float*>(operands[0]);
  const int64_t count = p.width * p.rows;
  if (p.pieces > 1) {
    const int64_t output = tile / p.pieces;
    const float mean = p.mean < 0 ? 0.0F : static_cast<const float*>(operands[p.mean])[output];
    static_cast<double*>(operands[p.target])[tile] = fold_runs<kind>(
        p, x + odometer_at(p.outer, output).offset, piece(tile % p.pieces, p.piece, count), mean);
    return;
  }
  auto* out = static_cast<float*>(operands[p.target]);
  const Range range = piece(tile, p.per_tile, p.outputs);
  Odometer at = odometer_at(p.outer, range.begin);
  for (int64_t i = range.begin; i < range.end; ++i) {
    const float* from = x + at.offset;
    float mean = 0.0F;
    double error = 0.0;
    if constexpr (kind == Kind::kSquares) {
      mean = finish(fold_runs<Kind::kSum>(p, from, {0, count}, 0.0F), p.divisor);
      error = fold_runs<Kind::kDistances>(p, from, {0, count}, mean) / p.divisor;
    }
    out[i] = finish(fold_runs<kind>(p, from, {0, count}, mean), p.divisor, error);
    advance(p.outer, at);
  }
}

// ---- columns -----------------------------------------------------------------------------------

/// Folds up to kBlock rows, which start at x + offsets[r], into acc[0, columns). A few columns add
/// up in registers, four rows at a time; otherwise each row is read in one run, as memory likes it,
/// into sums that stay in the first cache.
template <Kind kind>
void fold_block(const float* x, const int64_t* offsets, int64_t rows, int64_t columns,
                const float* mean, double* acc) {
  alignas(64) float sums[kMaxStrip + kWidth];
  const Vec none = set1(neutral<kind>());
  if (columns <= kNarrow) {
    for (int64_t c = 0; c < columns; c += kWidth) {
      const int64_t n = columns - c;
      const Vec m = about_mean(kind) ? load_partial(mean + c, n) : none;
      Vec v[4] = {none, none, none, none};
      int64_t r = 0;
      for (; r + 4 <= rows; r += 4) {
        for (int k = 0; k < 4; ++k)
          v[k] = fold<kind>(v[k], load_partial(x + offsets[r + k] + c, n), m);
      }
      for (; r < rows; ++r) v[0] = fold<kind>(v[0], load_partial(x + offsets[r] + c, n), m);
      store(sums + c, join<kind>(join<kind>(v[0], v[1]), join<kind>(v[2], v[3])));
    }
  } else {
    for (int64_t c = 0; c < columns; c += kWidth) store(sums + c, none);
    for (int64_t r = 0; r < rows; ++r) {
      const float* row = x + offsets[r];
      int64_t c = 0;
      for (; c + kWidth <= columns; c += kWidth) {
        store(sums + c,
              fold<kind>(load(sums + c), load(row + c), about_mean(kind) ? load(mean + c) : none));
      }
      if (c < columns) {
        const Vec m = about_mean(kind) ? load_partial(mean + c, columns - c) : none;
        store(sums + c, fold<kind>(load(sums + c), load_partial(row + c, columns - c), m));
      }
    }
  }
  for (int64_t i = 0; i < columns; ++i) acc[i] = join<kind>(acc[i], static_cast<double>(sums[i]));
}

/// Folds rows `range` of `columns` columns at `x` into acc.
template <Kind kind>
void fold_columns(const ReduceParams& p, const float* x, Range range, int64_t columns,
                  const float* mean, double* acc) {
  for (int64_t i = 0; i < columns; ++i) acc[i] = static_cast<double>(neutral<kind>());
  if (range.begin >= range.end) return;
  Odometer row = odometer_at(p.inner, range.begin);
  int64_t offsets[kBlock];
  for (int64_t r = range.begin; r < range.end; r += kBlock) {
    const int64_t n = least(kBlock, range.end - r);
    for (int64_t i = 0; i < n; ++i) {
      offsets[i] = row.offset;
      advance(p.inner, row);
    }
    fold_block<kind>(x, offsets, n, columns, mean, acc);
  }
}

template <Kind kind>
void columns_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<ReduceParams>(params);
  const int64_t strips = ceil_div(p.width, p.per_tile);
  const int64_t strip = tile / p.pieces;
  const Range columns = piece(strip % strips, p.per_tile, p.width);
  const int64_t n = columns.end - columns.begin;
  const int64_t output = strip / strips * p.width + columns.begin;
  const float* x = static_cast<const float*>(operands[0]) +
                   odometer_at(p.outer, strip / strips).offset + columns.begin;
  double acc[kMaxStrip];
  if (p.pieces > 1) {
    const int64_t part = tile % p.pieces;
    const float* mean = p.mean < 0 ? nullptr : static_cast<const float*>(operands[p.mean]) + output;
    fold_columns<kind>(p, x, piece(part, p.piece, p.rows), n, mean, acc);
    double* partial = static_cast<double*>(operands[p.target]);
    for (int64_t i = 0; i < n; ++i) partial[(output + i) * p.pieces + part] = acc[i];
    return;
  }
  float mean[kind == Kind::kSquares ? kMaxStrip : 1] = {};
  double error[kind == Kind::kSquares ? kMaxStrip : 1] = {};
  if constexpr (kind == Kind::kSquares) {
    fold_columns<Kind::kSum>(p, x, {0, p.rows}, n, nullptr, acc);
    for (int64_t i = 0; i < n; ++i) mean[i] = finish(acc[i], p.divisor);
    fold_columns<Kind::kDistances>(p, x, {0, p.rows}, n, mean, acc);
    for (int64_t i = 0; i < n; ++i) error[i] = acc[i] / p.divisor;
  }
  fold_columns<kind>(p, x, {0, p.rows}, n, mean, acc);
  float* out = static_cast<float*>(operands[p.target]) + output;
  for (int64_t i = 0; i < n; ++i)
    out[i] = finish(acc[i], p.divisor, kind == Kind::kSquares ? error[i] : 0.0);
}

// ---- pieces into outputs -----------------------------------------------------------------------

struct CombineParams {
  int64_t outputs, pieces;
  double divisor;
  int32_t partial, target;
  int32_t error;  // operand: mean distances from rounded means; -1: there are none
};

template <Kind kind>
void combine_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<CombineParams>(params);
  const auto* partial = static_cast<const double*>(operands[p.partial]);
  auto* out = static_cast<float*>(operands[p.target]);
  const Range range = piece(tile, kCombineTile, p.outputs);
  for (int64_t i = range.begin; i < range.end; ++i) {
    double acc = partial[i * p.pieces];
    for (int64_t k = 1; k < p.pieces; ++k) acc = join<kind>(acc, partial[i * p.pieces + k]);
    const float* error = p.error < 0 ? nullptr : static_cast<const float*>(operands[p.error]);
    out[i] = finish(acc, p.divisor, error == nullptr ? 0.0 : static_cast<double>(error[i]));
  }
}

// ---- launching ---------------------------------------------------------------------------------

struct Reduction {
  ReduceParams params;
  int64_t tiles;
  bool columns;
  double cost;
};

Reduction plan(const Tensor& x, const IntList& axes) {
  bool reduced[kMaxRank] = {};
  for (int32_t i = 0; i < axes.count; ++i) reduced[axes.values[i]] = true;
  Reduction r{};
  ReduceParams& p = r.params;
  int32_t last = x.rank - 1;
  while (last >= 0 && x.dims[last] == 1) --last;
  r.columns = last >= 0 && !reduced[last];
  p.width = 1;
  for (; last >= 0 && (x.dims[last] == 1 || reduced[last] != r.columns); --last)
    p.width *= x.dims[last];
  for (int32_t i = 0; i <= last; ++i)
    add_dim(reduced[i] ? p.inner : p.outer, x.dims[i], stride_of(x, i));
  p.rows = walk_count(p.inner);
  const int64_t outer = walk_count(p.outer);
  p.pieces = 1;
  p.mean = -1;
  if (r.columns) {
    p.outputs = outer * p.width;
    p.per_tile = least(
        most(kTile / most(p.rows, 1) / 64 * 64, p.rows > 2048 ? kMaxStrip : kMinStrip), kMaxStrip);
    r.tiles = outer * ceil_div(p.width, p.per_tile);
    const int64_t columns = most(least(p.width, p.per_tile), 1);
    if (r.tiles > 0 && r.tiles < 64 && p.rows * columns > 2 * kTile) {
      p.piece = most(ceil_div(kTile, columns), ceil_div(p.rows * r.tiles, 64));
      p.piece = ceil_div(p.piece, kBlock) * kBlock;
      p.pieces = ceil_div(p.rows, p.piece);
    }
  } else {
    const int64_t count = p.width * p.rows;
    p.outputs = outer;
    p.per_tile = most(kTile / most(count, 1), 1);
    r.tiles = ceil_div(outer, p.per_tile);
    if (outer > 0 && outer < 64 && count > 2 * kTile) {
      p.piece = most(kTile, ceil_div(count * outer, 1024));
      p.pieces = ceil_div(count, p.piece);
    }
  }
  if (p.pieces > 1) r.tiles = (r.columns ? r.tiles : outer) * p.pieces;
  const double per_element =
      (kWidth == 1 ? 0.2 : 0.06) * (r.columns && p.width < kNarrow ? 3.0 : 1.0);
  r.cost = 20.0 + per_element * static_cast<double>(x.numel) +
           (r.columns ? 0.5 : 8.0) * static_cast<double>(p.outputs);
  return r;
}

template <Kind kind>
void emit_fold(Emitter& emit, Reduction& r, int32_t target, int32_t partial, int32_t error = -1) {
  ReduceParams& p = r.params;
  p.target = p.pieces > 1 ? partial : target;
  emit_step(emit, r.columns ? columns_tile<kind> : rows_tile<kind>, p, r.tiles, r.cost);
  if (p.pieces <= 1) return;
  const CombineParams combine{p.outputs, p.pieces, p.divisor, partial, target, error};
  const double cost = 20.0 + static_cast<double>(p.outputs * p.pieces);
  emit_step(emit, combine_tile < about_mean(kind) ? Kind::kSum : kind >, combine,
            ceil_div(p.outputs, kCombineTile), cost);
}

template <Kind kind>
void launch(const NodeView& node, Emitter& emit, bool average) {
  Reduction r = plan(*node.inputs[0], attributes_of<ops::ReduceAttributes>(node).axes);
  ReduceParams& p = r.params;
  const int64_t count = r.columns ? p.rows : p.rows * p.width;
  p.divisor = average ? static_cast<double>(count) : 1.0;
  const int32_t partial = p.pieces > 1 ? emit.workspace(p.outputs * p.pieces * 8) : -1;
  int32_t error = -1;
  if (kind == Kind::kSquares && p.pieces > 1) {
    const int32_t mean = emit.workspace(p.outputs * 4);
    error = emit.workspace(p.outputs * 4);
    emit_fold<Kind::kSum>(emit, r, mean, partial);
    p.mean = mean;
    emit_fold<Kind::kDistances>(emit, r, error, partial);
  }
  if (kind == Kind::kSquares) r.cost *= p.pieces > 1 ? 1.5 : 3.0;
  emit_fold<kind>(emit, r, 1, partial, error);
}

}  // namespace

void launch_sum(const NodeView& node, Emitter& emit) { launch<Kind::kSum>(node, emit, false); }
void launch_mean(const NodeView& node, Emitter& emit) { launch<Kind::kSum>(node, emit, true); }
void launch_max(const NodeView& node, Emitter& emit) { launch<Kind::kMax>(node, emit, false); }
void launch_min(const NodeView& node, Emitter& emit) { launch<Kind::kMin>(node, emit, false); }
void launch_variance(const NodeView& node, Emitter& emit) {
  launch<Kind::kSquares>(node, emit, true);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
