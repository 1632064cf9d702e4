// gradientNorm: the Euclidean norm of all gradients into StepState, the factor that clips it as
// torch.nn.utils.clip_grad_norm_ does, and, when asked to check, whether the step must be skipped.
// Tiles sum squares unless the optimizer has done so; one step adds the sums in order.
#include "core/ops/optimizer.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int64_t kTile = 32768;
constexpr int64_t kBlock = 256 * kWidth;  // elements that add up in float, 64 to a lane of each sum

struct NormParams {
  int64_t n, sums;
  double max_norm;
  int32_t partial, loss;  // operands; -1 for none; sums of squares in double, or -1: in input 0
  bool check;
};

void squares_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<NormParams>(params);
  const auto* g = static_cast<const float*>(operands[0]);
  const Range range = piece(tile, kTile, p.n);
  double total = 0.0;
  for (int64_t i = range.begin; i < range.end;) {
    const int64_t end = least(i + kBlock, range.end);
    Vec sums[4] = {zero(), zero(), zero(), zero()};
    for (; i + 4 * kWidth <= end; i += 4 * kWidth) {
      for (int k = 0; k < 4; ++k) {
        const Vec x = load(g + i + k * kWidth);
        sums[k] = fma(x, x, sums[k]);
      }
    }
    for (; i < end; i += kWidth) {
      const Vec x = load_partial(g + i, end - i);
      sums[0] = fma(x, x, sums[0]);
    }
    total += static_cast<double>(reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3])));
  }
  static_cast<double*>(operands[p.partial])[tile] = total;
}

void norm_tile(const void* params, void* const* operands, int64_t, const TileContext& context) {
  const auto& p = params_of<NormParams>(params);
  double total = 0.0;
  for (int64_t i = 0; i < p.sums; ++i) {
    total += p.partial >= 0 ? static_cast<const double*>(operands[p.partial])[i]
                            : static_cast<double>(static_cast<const float*>(operands[0])[i]);
  }
  const double norm = __builtin_sqrt(total);
  StepState& state = *context.state;
  state.gradient_norm = static_cast<float>(norm);
  state.clip = 1.0F;
  if (p.max_norm > 0.0) {
    const double factor = p.max_norm / (norm + 1e-6);
    state.clip = factor >= 1.0 ? 1.0F : static_cast<float>(factor);  // NaN stays NaN
  }
  if (p.check) {
    const float loss = p.loss < 0 ? 0.0F : *static_cast<const float*>(operands[p.loss]);
    state.skip = __builtin_isfinite(state.gradient_norm) && __builtin_isfinite(loss) ? 0 : 1;
  }
}

}  // namespace

void launch_gradientNorm(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::GradientNorm::Attributes>(node);
  NormParams p{};
  p.n = node.inputs[0]->numel;
  p.sums = attributes.squared ? p.n : ceil_div(p.n, kTile);
  p.max_norm = attributes.max_norm;
  p.check = attributes.check;
  p.loss = node.input_count > 1 && node.inputs[1] != nullptr ? 1 : -1;
  p.partial = -1;
  if (!attributes.squared) {
    p.partial = emit.workspace(most(p.sums, 1) * 8);
    emit_step(emit, squares_tile, p, p.sums, 20.0 + 0.06 * static_cast<double>(p.n));
  }
  emit_step(emit, norm_tile, p, 1, 20.0 + static_cast<double>(p.sums));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
