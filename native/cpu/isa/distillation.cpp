// distillation and its gradient. With p = softmax(x / T) and q = softmax(teacher / T) by row,
//   loss = T^2 / rows * sum over rows of sum q (log q - log p)
//   dx = g T / rows * (p - q)
// With weights, each of which holds for `inner` neighbouring rows, the sum is weighted and rows are
// the divisor times inner; what has a weight of 0 does not count, not even as NaN.
// Tiles of rows, each with a partial loss in double, which a last step adds in order. dx (=) may
// lie on x.
#include "core/ops/distillation.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/row_sums.h"
#include "cpu/isa/softmax_row.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int64_t kTile = 8192;  // elements, about

struct DistillationParams {
  int64_t rows, classes;
  int64_t per_tile, tiles;  // rows
  int64_t inner;            // rows of a weight
  float temperature;
  int32_t weights, divisor;  // operands; -1 for none
  int32_t out;               // operand
  int32_t partial;           // operand: workspace [tiles] of doubles
};

TANDEM_INLINE float weight_of(const DistillationParams& p, void* const* operands, int64_t row) {
  return p.weights < 0 ? 1.0F : static_cast<const float*>(operands[p.weights])[row / p.inner];
}

/// 1 / rows, or with weights by what they are divided by; 0 where nothing counts.
double share_of_row(const DistillationParams& p, void* const* operands) {
  if (p.weights < 0) return 1.0 / static_cast<double>(p.rows);
  const auto divisor = static_cast<double>(*static_cast<const float*>(operands[p.divisor]));
  return divisor == 0.0 ? 0.0 : 1.0 / (divisor * static_cast<double>(p.inner));
}

TANDEM_INLINE double log_of(double x) {
  return static_cast<double>(__builtin_logf(static_cast<float>(x)));
}

double row_loss(const float* x, const float* teacher, int64_t n, float by) {
  const Vec factor = set1(by);
  const Vec x0 = set1(row_max(x, n));
  const Vec t0 = set1(row_max(teacher, n));
  double sums[3] = {0.0, 0.0, 0.0};
  add_sums(
      n,
      [&](int64_t i, int64_t m, Vec(&out)[3]) {
        const Vec a = (load_up_to(x + i, m) - x0) * factor;
        const Vec b = (load_up_to(teacher + i, m) - t0) * factor;
        out[0] = exp_(a);
        out[1] = exp_(b);
        // what the teacher takes for impossible counts nothing, whatever the other makes of it
        out[2] = select(out[1] == zero(), zero(), out[1] * (b - a));
      },
      sums);
  return sums[2] / sums[1] + (log_of(sums[0]) - log_of(sums[1]));
}

void loss_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<DistillationParams>(params);
  const auto* x = static_cast<const float*>(operands[0]);
  const auto* teacher = static_cast<const float*>(operands[1]);
  const Range rows = piece(tile, p.per_tile, p.rows);
  double loss = 0.0;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const int64_t at = row * p.classes;
    const float weight = weight_of(p, operands, row);
    if (weight == 0.0F) continue;
    loss += static_cast<double>(weight) *
            row_loss(x + at, teacher + at, p.classes, 1.0F / p.temperature);
  }
  static_cast<double*>(operands[p.partial])[tile] = loss;
}

void mean_tile(const void* params, void* const* operands, int64_t, const TileContext&) {
  const auto& p = params_of<DistillationParams>(params);
  const auto* partial = static_cast<const double*>(operands[p.partial]);
  double sum = 0.0;
  for (int64_t i = 0; i < p.tiles; ++i) sum += partial[i];
  const auto t = static_cast<double>(p.temperature);
  *static_cast<float*>(operands[p.out]) =
      static_cast<float>(t * t * sum * share_of_row(p, operands));
}

/// `scale` is g T / rows, weighted.
void row_grad(const float* x, const float* teacher, float* dx, int64_t n, float by, double scale) {
  const Vec factor = set1(by);
  const Vec x0 = set1(row_max(x, n));
  const Vec t0 = set1(row_max(teacher, n));
  double sums[2] = {0.0, 0.0};
  add_sums(
      n,
      [&](int64_t i, int64_t m, Vec(&out)[2]) {
        out[0] = exp_((load_up_to(x + i, m) - x0) * factor);
        out[1] = exp_((load_up_to(teacher + i, m) - t0) * factor);
        store_up_to(dx + i, out[0], m);
      },
      sums);
  const Vec of_x = set1(static_cast<float>(scale / sums[0]));
  const Vec of_teacher = set1(static_cast<float>(scale / sums[1]));
  each_vector(n, [&](int64_t i, int64_t m) {
    const Vec q = exp_((load_up_to(teacher + i, m) - t0) * factor);
    store_up_to(dx + i, minus_product(load_up_to(dx + i, m) * of_x, q, of_teacher), m);
  });
}

void grad_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<DistillationParams>(params);
  const auto* x = static_cast<const float*>(operands[0]);
  const auto* teacher = static_cast<const float*>(operands[1]);
  const auto g = static_cast<double>(*static_cast<const float*>(operands[2]));
  auto* dx = static_cast<float*>(operands[p.out]);
  const double scale = g * static_cast<double>(p.temperature) * share_of_row(p, operands);
  const Range rows = piece(tile, p.per_tile, p.rows);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const int64_t at = row * p.classes;
    const float weight = weight_of(p, operands, row);
    if (weight == 0.0F) {
      for (int64_t i = 0; i < p.classes; ++i) dx[at + i] = 0.0F;
      continue;
    }
    row_grad(x + at, teacher + at, dx + at, p.classes, 1.0F / p.temperature,
             scale * static_cast<double>(weight));
  }
}

/// `weights`: the operand's number, if it is there.
DistillationParams params_for(const NodeView& node, int32_t weights) {
  const Tensor& x = *node.inputs[0];
  DistillationParams p{};
  p.classes = x.dims[x.rank - 1];
  p.rows = x.numel / p.classes;
  p.per_tile = ceil_div(kTile, p.classes);
  p.tiles = ceil_div(p.rows, p.per_tile);
  p.temperature = attributes_of<ops::DistillationAttributes>(node).temperature;
  const bool weighted = node.input_count > weights && node.inputs[weights] != nullptr;
  p.weights = weighted ? weights : -1;
  p.divisor = weights + 1;
  p.inner = weighted ? p.rows / most(node.inputs[weights]->numel, 1) : 1;
  p.out = node.input_count;
  p.partial = -1;
  return p;
}

double cost_of(const DistillationParams& p, double exponentials) {
  const auto rows = static_cast<double>(p.rows);
  return 20.0 +
         (0.2 + exponentials * (kWidth == 1 ? 6.0 : 0.3)) * rows * static_cast<double>(p.classes) +
         60.0 * rows;
}

}  // namespace

// Operands: x, teacher, weights, divisor; the loss; the tiles' sums. Of no rows the mean is NaN.
void launch_distillation(const NodeView& node, Emitter& emit) {
  DistillationParams p = params_for(node, 2);
  p.partial = emit.workspace(most(p.tiles, 1) * 8);
  emit_step(emit, loss_tile, p, p.tiles, cost_of(p, 2.0));
  emit_step(emit, mean_tile, p, 1, 10.0 + static_cast<double>(p.tiles));
}

// Operands: x, teacher, g, weights, divisor; dx.
void launch_distillationGrad(const NodeView& node, Emitter& emit) {
  const DistillationParams p = params_for(node, 3);
  emit_step(emit, grad_tile, p, p.tiles, cost_of(p, 3.0));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
