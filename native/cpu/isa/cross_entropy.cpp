// Softmax cross-entropy of class numbers, as PyTorch's cross_entropy with reduction "mean":
//   loss = sum over rows that count of v [(1 - s) w_t (L - x_t) + s / C sum_c w_c (L - x_c)] / D,
// where L = log sum_c exp(x_c), s is the label smoothing, w are the classes' weights, v is the
// row's own, one for `inner` neighbouring rows, and D the divisor: the sum of v w_t over the
// targets that count. The gradient in x_c is
//   g v [((1 - s) w_t + s / C sum w) p_c - s / C w_c - (1 - s) w_t [c = t]] / D, and 0 where D is.
// Steps: tiles of rows, each with a partial loss; the loss. A row whose target is no class reads
// nothing and gives NaN, in the loss and in its gradient; one with v = 0 counts as ignored.
#include "core/ops/cross_entropy.h"

#include "cpu/isa/denormals.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/softmax_row.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int64_t kTile = 8192;  // elements, about

struct LossParams {
  int64_t rows, classes;
  int64_t per_tile, tiles;  // rows a tile
  int64_t inner;            // rows of a row weight
  int64_t ignore;
  double smoothing;
  // Operands; -1 where there is none.
  int32_t weights, row_weights, dy, loss, dx, partial;
};

// Operands that are always there.
constexpr int kTargets = 1;
constexpr int kDivisor = 4;

TANDEM_INLINE const float* weights_of(const LossParams& p, void* const* operands) {
  return p.weights < 0 ? nullptr : static_cast<const float*>(operands[p.weights]);
}

TANDEM_INLINE bool is_class(const LossParams& p, int64_t target) {
  return target >= 0 && target < p.classes;
}

TANDEM_INLINE double row_weight(const LossParams& p, void* const* operands, int64_t row) {
  if (p.row_weights < 0) return 1.0;
  return static_cast<double>(static_cast<const float*>(operands[p.row_weights])[row / p.inner]);
}

double divisor_of(void* const* operands) {
  return static_cast<double>(*static_cast<const float*>(operands[kDivisor]));
}

/// 1 / D. Without a target that counts the mean is NaN, as PyTorch's, but 0 where weights say so.
double share_of(const LossParams& p, void* const* operands) {
  const double divisor = divisor_of(operands);
  return p.row_weights >= 0 && divisor == 0.0 ? 0.0 : 1.0 / divisor;
}

/// The same of slopes: where nothing counts there is nothing to learn, and a NaN would be the end
/// of all parameters.
double slope_share_of(void* const* operands) {
  const double divisor = divisor_of(operands);
  return divisor == 0.0 ? 0.0 : 1.0 / divisor;
}

// ---- rows --------------------------------------------------------------------------------------

/// The sum over classes of w (x - shift), and the sum of w.
struct Spread {
  double x, weights;
};
Spread spread_of(const float* x, const float* weights, int64_t n, float shift) {
  Spread s{0.0, weights == nullptr ? static_cast<double>(n) : 0.0};
  for (int64_t i = 0; i < n;) {
    const int64_t end = least(i + kRowBlock, n);
    Vec sum_x = zero();
    Vec sum_w = zero();
    for (; i < end; i += kWidth) {
      const Vec d = keep_first(load_partial(x + i, n - i) - set1(shift), n - i, zero());
      const Vec w = weights == nullptr ? set1(1.0F) : load_partial(weights + i, n - i);
      sum_x = fma(w, d, sum_x);
      sum_w += w;
    }
    s.x += static_cast<double>(reduce_add(sum_x));
    if (weights != nullptr) s.weights += static_cast<double>(reduce_add(sum_w));
  }
  return s;
}

void fill_row(float* x, int64_t n, float value) {
  for (int64_t i = 0; i < n; ++i) x[i] = value;
}

/// A one at index kWidth: loaded from kWidth - i on, it is at lane i.
struct OneHot {
  float at[2 * kWidth + 1] = {};
  constexpr OneHot() { at[kWidth] = 1.0F; }
};
constexpr OneHot kOneHot;

/// One row that counts; returns its part of the loss. `scale` is g / D; dx may be x.
template <bool grad>
double row_loss(const LossParams& p, const float* x, const float* weights, int64_t target,
                float* dx, double scale) {
  const int64_t n = p.classes;
  const double on_target =
      (1.0 - p.smoothing) * (weights == nullptr ? 1.0 : static_cast<double>(weights[target]));
  const double on_each = p.smoothing / static_cast<double>(n);
  const float largest = row_max(x, n);
  const double below = static_cast<double>(x[target] - largest);
  Spread spread{0.0, 0.0};
  if (p.smoothing > 0.0) spread = spread_of(x, weights, n, largest);
  double sum;
  if constexpr (grad) {
    const double on_p = scale * (on_target + on_each * spread.weights);
    const Vec each = set1(static_cast<float>(scale * on_each));
    const bool smooth = p.smoothing > 0.0;
    const auto finish = [&](Vec e, Vec factor, int64_t i, int64_t m) {
      Vec d = e * factor;
      if (smooth) d -= weights == nullptr ? each : each * load_partial(weights + i, m);
      return d;
    };
    const auto hit = static_cast<float>(scale * on_target);
    if (n <= kWidth) {  // the row stays in a register
      const Vec e = keep_first(exp_(load_partial(x, n) - set1(largest)), n, zero());
      sum = static_cast<double>(reduce_add(e));
      const Vec d = finish(e, set1(static_cast<float>(on_p / sum)), 0, n);
      store_partial(dx, d - load(kOneHot.at + kWidth - target) * set1(hit), n);
    } else {
      sum = row_exp<true>(x, dx, n, largest);
      const Vec factor = set1(static_cast<float>(on_p / sum));
      int64_t i = 0;
      for (; i + kWidth <= n; i += kWidth) store(dx + i, finish(load(dx + i), factor, i, kWidth));
      if (i < n)
        store_partial(dx + i, finish(load_partial(dx + i, n - i), factor, i, n - i), n - i);
      dx[target] -= hit;
    }
  } else {
    sum = row_exp<false>(x, nullptr, n, largest);
  }
  if (p.loss < 0) return 0.0;
  const auto log_sum = static_cast<double>(__builtin_logf(static_cast<float>(sum)));
  const double loss = on_target * (log_sum - below);
  return p.smoothing > 0.0 ? loss + on_each * (spread.weights * log_sum - spread.x) : loss;
}

template <bool grad>
void rows_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const FlushDenormals flush;
  const auto& p = params_of<LossParams>(params);
  const auto* targets = static_cast<const int32_t*>(operands[kTargets]);
  const float* weights = weights_of(p, operands);
  double scale = 0.0;
  if (grad) {
    scale = slope_share_of(operands);
    if (p.dy >= 0) scale *= static_cast<double>(*static_cast<const float*>(operands[p.dy]));
  }
  double loss = 0.0;
  const Range range = piece(tile, p.per_tile, p.rows);
  for (int64_t row = range.begin; row < range.end; ++row) {
    const float* x = static_cast<const float*>(operands[0]) + row * p.classes;
    float* dx = grad ? static_cast<float*>(operands[p.dx]) + row * p.classes : nullptr;
    const int64_t target = targets[row];
    const double own = row_weight(p, operands, row);
    const bool counts = target != p.ignore && own != 0.0;
    if (counts && is_class(p, target)) {
      loss += own * row_loss<grad>(p, x, weights, target, dx, scale * own);
      continue;
    }
    const float nothing = counts ? __builtin_nanf("") : 0.0F;
    loss += static_cast<double>(nothing);
    if (grad) fill_row(dx, p.classes, nothing);
  }
  if (p.loss >= 0) static_cast<double*>(operands[p.partial])[tile] = loss;
}

void loss_tile(const void* params, void* const* operands, int64_t, const TileContext&) {
  const auto& p = params_of<LossParams>(params);
  const auto* partial = static_cast<const double*>(operands[p.partial]);
  double sum = 0.0;
  for (int64_t i = 0; i < p.tiles; ++i) sum += partial[i];
  *static_cast<float*>(operands[p.loss]) = static_cast<float>(sum * share_of(p, operands));
}

// ---- launching ---------------------------------------------------------------------------------

template <bool grad>
void launch(const NodeView& node, Emitter& emit, bool has_loss) {
  const auto& attributes = attributes_of<ops::CrossEntropyAttributes>(node);
  const Tensor& x = *node.inputs[0];
  LossParams p{};
  p.classes = x.dims[x.rank - 1];
  p.rows = x.numel / p.classes;
  p.per_tile = ceil_div(kTile, p.classes);
  p.tiles = ceil_div(p.rows, p.per_tile);
  p.ignore = attributes.ignore_index;
  p.smoothing = static_cast<double>(attributes.label_smoothing);
  p.weights = node.inputs[2] != nullptr ? 2 : -1;
  p.row_weights = node.inputs[3] != nullptr ? 3 : -1;
  p.inner = p.row_weights < 0 ? 1 : p.rows / most(node.inputs[3]->numel, 1);
  p.dy = node.input_count > 5 ? 5 : -1;
  p.loss = has_loss ? node.input_count : -1;
  p.dx = grad ? node.input_count + (has_loss ? 1 : 0) : -1;
  p.partial = has_loss ? emit.workspace(most(p.tiles, 1) * 8) : -1;
  const auto rows = static_cast<double>(p.rows);
  const double cost =
      20.0 + (kWidth == 1 ? 12.0 : 0.5) * static_cast<double>(x.numel) + 20.0 * rows;
  emit_step(emit, rows_tile<grad>, p, p.tiles, cost);
  if (has_loss) emit_step(emit, loss_tile, p, 1, 10.0 + static_cast<double>(p.tiles));
}

}  // namespace

void launch_crossEntropy(const NodeView& node, Emitter& emit) { launch<false>(node, emit, true); }
void launch_crossEntropyGrad(const NodeView& node, Emitter& emit) {
  launch<true>(node, emit, false);
}
void launch_softmaxCrossEntropy(const NodeView& node, Emitter& emit) {
  launch<true>(node, emit, true);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
