// countTargets: the targets that count, each with its class's weight and its own, which holds for
// `inner` neighbouring targets. Tiles of targets add up in double; one step adds the tiles in
// order. A negative target may be ignored altogether; one that is no class has no class's weight.
#include "core/ops/count_targets.h"

#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int64_t kTile = 16384;  // targets

struct CountParams {
  int64_t n, tiles, inner, classes, ignore;
  int32_t class_weights, weights, out, partial;  // operands; -1 where there is none
  bool float_target, ignore_negative;
};

template <typename T>
double count(const CountParams& p, void* const* operands, Range range) {
  const auto* targets = static_cast<const T*>(operands[0]);
  const auto* of_class =
      p.class_weights < 0 ? nullptr : static_cast<const float*>(operands[p.class_weights]);
  const auto* own = p.weights < 0 ? nullptr : static_cast<const float*>(operands[p.weights]);
  double sum = 0.0;
  for (int64_t i = range.begin; i < range.end; ++i) {
    const T target = targets[i];
    // As a double: any int32 and float is one.
    if (static_cast<double>(target) == static_cast<double>(p.ignore)) continue;
    if (p.ignore_negative && target < T{0}) continue;
    double weight = own == nullptr ? 1.0 : static_cast<double>(own[i / p.inner]);
    if (of_class != nullptr) {
      const auto number = static_cast<int64_t>(target);
      if (number < 0 || number >= p.classes) continue;
      weight *= static_cast<double>(of_class[number]);
    }
    sum += weight;
  }
  return sum;
}

double count_range(const CountParams& p, void* const* operands, Range range) {
  return p.float_target ? count<float>(p, operands, range) : count<int32_t>(p, operands, range);
}

void count_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<CountParams>(params);
  static_cast<double*>(operands[p.partial])[tile] =
      count_range(p, operands, piece(tile, kTile, p.n));
}

void sum_tile(const void* params, void* const* operands, int64_t, const TileContext&) {
  const auto& p = params_of<CountParams>(params);
  const auto* partial = static_cast<const double*>(operands[p.partial]);
  double sum = 0.0;
  for (int64_t i = 0; i < p.tiles; ++i) sum += partial[i];
  *static_cast<float*>(operands[p.out]) = static_cast<float>(sum);
}

// Of one tile or of nothing, in one step.
void small_tile(const void* params, void* const* operands, int64_t, const TileContext&) {
  const auto& p = params_of<CountParams>(params);
  *static_cast<float*>(operands[p.out]) = static_cast<float>(count_range(p, operands, {0, p.n}));
}

}  // namespace

// Operands: targets, class weights, weights; the number; the tiles' sums.
void launch_countTargets(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::CountTargetsAttributes>(node);
  const auto operand = [&](int32_t i) {
    return node.input_count > i && node.inputs[i] != nullptr ? i : -1;
  };
  CountParams p{};
  p.n = node.inputs[0]->numel;
  p.tiles = ceil_div(p.n, kTile);
  p.ignore = attributes.ignore_index;
  p.ignore_negative = attributes.ignore_negative;
  p.float_target = node.inputs[0]->dtype == DType::kFloat32;
  p.class_weights = operand(1);
  p.weights = operand(2);
  p.classes = p.class_weights < 0 ? 0 : node.inputs[1]->numel;
  p.inner = p.weights < 0 ? 1 : p.n / most(node.inputs[2]->numel, 1);
  p.out = node.input_count;
  const double cost = (p.class_weights < 0 && p.weights < 0 ? 1.0 : 3.0) * static_cast<double>(p.n);
  if (p.tiles <= 1) {
    emit_step(emit, small_tile, p, 1, 5.0 + cost);
    return;
  }
  p.partial = emit.workspace(p.tiles * 8);
  emit_step(emit, count_tile, p, p.tiles, 5.0 + cost);
  emit_step(emit, sum_tile, p, 1, 5.0 + static_cast<double>(p.tiles));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
