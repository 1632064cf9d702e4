// layerNorm and rmsNorm over contiguous rows:
//   layerNorm: y = (x - mean) r w + b, r = (variance + eps)^-1/2
//   rmsNorm:   y = x r w,              r = (mean of squares + eps)^-1/2
// A row is read once from memory and its passes follow each other in the cache. With a residual,
// the first pass writes x + residual, which the others read. y may lie on x or on the residual:
// nothing of them is read after the first pass but x itself, element by element.
#include "core/ops/row_norm.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/math.h"
#include "cpu/isa/row_norm_short.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int64_t kTile = 16384;             // elements, about
constexpr int64_t kTogether = 8;             // rows that take each pass one after the other
constexpr int64_t kElementsTogether = 1024;  // of these rows

struct RowNormParams {
  int64_t rows, length;
  int64_t per_tile;  // rows
  float epsilon;
  // operands; -1 where there is none
  int32_t w, b, residual, y, mean, inverse, sum;
};

TANDEM_INLINE float* row_of(void* const* operands, int32_t index, int64_t at) {
  return index < 0 ? nullptr : static_cast<float*>(operands[index]) + at;
}

/// Sum (layerNorm) or sum of squares (rmsNorm) of a row; with a residual also the row of x +
/// residual.
template <bool centered, bool with_residual>
TANDEM_INLINE double first_pass(const float* x, const float* residual, float* sum, int64_t n) {
  double total[1] = {0.0};
  add_sums(
      n,
      [&](int64_t i, int64_t m, Vec(&out)[1]) {
        Vec v = load_up_to(x + i, m);
        if constexpr (with_residual) {
          v += load_up_to(residual + i, m);
          store_up_to(sum + i, v, m);
        }
        out[0] = centered ? v : v * v;
      },
      total);
  return total[0];
}

/// Mean and squared distances of a row whose mean is about `center`.
TANDEM_INLINE Moments moments(const float* x, int64_t n, float center) {
  double sums[2] = {0.0, 0.0};
  const Vec c0 = set1(center);
  add_sums(
      n,
      [&](int64_t i, int64_t m, Vec(&out)[2]) {
        out[0] = load_up_to(x + i, m) - c0;
        out[1] = out[0] * out[0];
      },
      sums);
  return moments_about(center, sums, static_cast<double>(n));
}

double squares_in_double(const float* x, int64_t n) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

/// Mean and inverse deviation of a row where sums of floats have overflowed.
template <bool centered>
void normalize_in_double(const float* x, int64_t n, float epsilon, float& center, float& inverse) {
  const Moments found =
      centered ? moments_in_double(x, 1, n, 0, 1) : Moments{0.0, squares_in_double(x, n)};
  const double mean = found.squares / static_cast<double>(n);
  center = static_cast<float>(found.mean);
  inverse = static_cast<float>(1.0 / __builtin_sqrt(mean + static_cast<double>(epsilon)));
}

template <bool centered>
TANDEM_INLINE void scale_row(const float* x, const float* w, const float* b, float* y, int64_t n,
                             float mean, float inverse) {
  const Vec center = set1(mean);
  const Vec r = set1(inverse);
  const auto normal = [&](int64_t i, int64_t m) {
    const Vec v = load_up_to(x + i, m);
    return (centered ? v - center : v) * r;
  };
  if (w != nullptr && b != nullptr) {
    each_vector(n, [&](int64_t i, int64_t m) {
      store_up_to(y + i, fma(normal(i, m), load_up_to(w + i, m), load_up_to(b + i, m)), m);
    });
  } else if (w != nullptr) {
    each_vector(n, [&](int64_t i, int64_t m) {
      store_up_to(y + i, normal(i, m) * load_up_to(w + i, m), m);
    });
  } else if (b != nullptr) {
    each_vector(n, [&](int64_t i, int64_t m) {
      store_up_to(y + i, normal(i, m) + load_up_to(b + i, m), m);
    });
  } else {
    each_vector(n, [&](int64_t i, int64_t m) { store_up_to(y + i, normal(i, m), m); });
  }
}

/// 1 / sqrt(spread / n + eps) of up to kTogether rows.
TANDEM_INLINE void inverses(const float* spreads, float* inverse, int64_t rows, int64_t n,
                            float epsilon) {
  const Vec per_element = set1(static_cast<float>(1.0 / static_cast<double>(n)));
  each_vector(rows, [&](int64_t i, int64_t m) {
    const Vec mean = load_up_to(spreads + i, m) * per_element;
    store_up_to(inverse + i, set1(1.0F) / sqrt_(greater_of(zero(), mean) + set1(epsilon)), m);
  });
}

/// What rows are scaled by, from their means and what their squares add up to.
template <bool centered>
TANDEM_INLINE void finish_rows(const RowNormParams& p, void* const* operands, int64_t row,
                               int64_t rows, int32_t source, float* centers, const float* spreads) {
  const int64_t n = p.length;
  float* inverse = row_of(operands, p.inverse, row);
  inverses(spreads, inverse, rows, n, p.epsilon);
  for (int64_t k = 0; k < rows; ++k) {
    const int64_t at = (row + k) * n;
    if (!(spreads[k] < kInfinity)) {
      normalize_in_double<centered>(row_of(operands, source, at), n, p.epsilon, centers[k],
                                    inverse[k]);
    }
    if (centered) *row_of(operands, p.mean, row + k) = centers[k];
    scale_row<centered>(row_of(operands, source, at), row_of(operands, p.w, 0),
                        row_of(operands, p.b, 0), row_of(operands, p.y, at), n, centers[k],
                        inverse[k]);
  }
}

/// As many short rows as a vector has lanes, or fewer.
template <bool centered, bool with_residual>
void norm_short_rows(const RowNormParams& p, void* const* operands, int64_t row, int64_t rows) {
  const int32_t source = with_residual ? (p.sum < 0 ? p.y : p.sum) : 0;
  const int64_t at = row * p.length;
  auto* x = static_cast<float*>(operands[source]) + at;
  if constexpr (with_residual) {
    const float* a = row_of(operands, 0, at);
    const float* b = row_of(operands, p.residual, at);
    each_vector(rows * p.length, [&](int64_t i, int64_t m) {
      store_up_to(x + i, load_up_to(a + i, m) + load_up_to(b + i, m), m);
    });
  }
  const ShortRows of{x, rows, p.length};
  float centers[kWidth] = {};
  float spreads[kWidth];
  if (centered) {
    short_moments(of, centers, spreads);
  } else {
    add_short_rows(of, [](Vec v, int64_t) { return v * v; }, spreads);
  }
  finish_rows<centered>(p, operands, row, rows, source, centers, spreads);
}

/// Rows take each pass together, so that one works while another waits for its sums.
template <bool centered, bool with_residual>
TANDEM_INLINE void norm_rows(const RowNormParams& p, void* const* operands, int64_t row,
                             int64_t rows) {
  const int64_t n = p.length;
  const int32_t source = with_residual ? (p.sum < 0 ? p.y : p.sum) : 0;
  float centers[kTogether];
  float spreads[kTogether];
  double totals[kTogether];
  const double per_element = 1.0 / static_cast<double>(n);
  for (int64_t k = 0; k < rows; ++k) {
    const int64_t at = (row + k) * n;
    totals[k] = first_pass<centered, with_residual>(
        row_of(operands, 0, at), row_of(operands, p.residual, at), row_of(operands, source, at), n);
  }
  for (int64_t k = 0; k < rows; ++k) {
    Moments found{0.0, totals[k]};
    if (centered) {
      found = moments(row_of(operands, source, (row + k) * n), n,
                      static_cast<float>(totals[k] * per_element));
    }
    centers[k] = static_cast<float>(found.mean);
    spreads[k] = static_cast<float>(found.squares);
  }
  finish_rows<centered>(p, operands, row, rows, source, centers, spreads);
}

template <bool centered, bool with_residual>
void rows_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<RowNormParams>(params);
  const Range rows = piece(tile, p.per_tile, p.rows);
  if (kWidth > 1 && p.length <= kShortRow) {
    for (int64_t row = rows.begin; row < rows.end; row += kWidth) {
      norm_short_rows<centered, with_residual>(p, operands, row, least(kWidth, rows.end - row));
    }
    return;
  }
  const int64_t together = least(most(kElementsTogether / p.length, 1), kTogether);
  for (int64_t row = rows.begin; row < rows.end; row += together) {
    norm_rows<centered, with_residual>(p, operands, row, least(together, rows.end - row));
  }
}

template <bool centered>
void launch(const NodeView& node, Emitter& emit) {
  const Tensor& x = *node.inputs[0];
  if (x.numel == 0) return;
  const auto given = [&](int32_t i) {
    return i < node.input_count && node.inputs[i] != nullptr ? i : -1;
  };
  RowNormParams p{};
  p.epsilon = attributes_of<ops::RowNormAttributes>(node).epsilon;
  p.w = given(1);
  p.b = given(2);
  p.residual = given(3);
  p.y = node.input_count;
  p.mean = centered ? p.y + 1 : -1;
  p.inverse = p.y + (centered ? 2 : 1);
  p.sum = node.output_count > p.inverse - p.y + 1 ? p.inverse + 1 : -1;
  p.rows = node.outputs[1]->numel;
  p.length = x.numel / p.rows;
  p.per_tile = most(kTile / p.length, 1);
  const bool residual = p.residual >= 0;
  const double memory = kMoveCost * (residual ? 2.0 : 1.0);
  const double lanes = kWidth == 1 ? 2.0 : 0.1;
  emit_step(
      emit, residual ? rows_tile<centered, true> : rows_tile<centered, false>, p,
      ceil_div(p.rows, p.per_tile),
      20.0 + (memory + lanes) * static_cast<double>(x.numel) + 30.0 * static_cast<double>(p.rows));
}

}  // namespace

// Operands: x, w, b, residual; y, the means, the inverse deviations, the sum.
void launch_layerNorm(const NodeView& node, Emitter& emit) { launch<true>(node, emit); }

// Operands: x, w, none, residual; y, the inverse root mean squares, the sum.
void launch_rmsNorm(const NodeView& node, Emitter& emit) { launch<false>(node, emit); }

}  // namespace tandem::cpu::TANDEM_ISA_NS
