// rotary: turns pairs of numbers by angles that grow with the position. A tile is a range of
// positions, for all batches and heads: sines and cosines are computed once for each position.
// Where each row has a position of its own, it is a range of rows. May run in place.
#include "core/ops/rotary.h"

#include "cpu/isa/kernels.h"
#include "cpu/isa/math.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int64_t kPositions = 8;  // of a tile

struct RotaryParams {
  int64_t outer, time, width, depth, columns;
  double base;
  float direction;
  int32_t positions, y;  // operands; -1: positions count along `time`
};

/// In scratch, for half of a head: angles a position as sums of two floats, and what they give.
struct Angles {
  float* high;
  float* low;
  float* cosine;
  float* sine;
};

Angles angles_in(const RotaryParams& p, void* scratch) {
  auto* base = static_cast<float*>(scratch);
  const int64_t half = p.depth / 2;
  return {base, base + half, base + 2 * half, base + 3 * half};
}

void find_frequencies(const RotaryParams& p, const Angles& angles) {
  for (int64_t i = 0; i < p.depth / 2; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(p.depth);
    const double frequency = __builtin_pow(p.base, exponent);
    angles.high[i] = static_cast<float>(frequency);
    angles.low[i] = static_cast<float>(frequency - static_cast<double>(angles.high[i]));
  }
}

/// Sines and cosines at a position. The product of position and frequency has an error that grows
/// with the position; it is known exactly, and small enough for the first two terms of a series.
void find_angles(const RotaryParams& p, const Angles& angles, int64_t position) {
  const Vec t = set1(static_cast<float>(position));
  const Vec direction = set1(p.direction);
  const int64_t half = p.depth / 2;
  for (int64_t i = 0; i < half; i += kWidth) {
    const Vec high = load_partial(angles.high + i, half - i);
    const Vec angle = t * high;
    const Vec error = fused(t, load_partial(angles.low + i, half - i), fused(t, high, -angle));
    const Vec sine = sin_(angle);
    const Vec cosine = cos_(angle);
    store_partial(angles.sine + i, direction * fused(error, cosine, sine), half - i);
    store_partial(angles.cosine + i, fused(-error, sine, cosine), half - i);
  }
}

void turn_head(const RotaryParams& p, const Angles& angles, const float* x, float* y) {
  const int64_t half = p.depth / 2;
  for (int64_t i = 0; i < half; i += kWidth) {
    const int64_t n = half - i;
    const Vec a = load_partial(x + i, n);
    const Vec b = load_partial(x + half + i, n);
    const Vec cosine = load_partial(angles.cosine + i, n);
    const Vec sine = load_partial(angles.sine + i, n);
    store_partial(y + i, a * cosine - b * sine, n);
    store_partial(y + half + i, fma(a, sine, b * cosine), n);
  }
}

void turn_row(const RotaryParams& p, const Angles& angles, const float* x, float* y) {
  for (int64_t j = 0; j < p.columns; j += p.depth) turn_head(p, angles, x + j, y + j);
  const auto left = static_cast<size_t>(p.width - p.columns);
  if (x != y && left > 0) std::memcpy(y + p.columns, x + p.columns, left * sizeof(float));
}

void rotary_tile(const void* params, void* const* operands, int64_t tile,
                 const TileContext& context) {
  const auto& p = params_of<RotaryParams>(params);
  const Angles angles = angles_in(p, context.scratch);
  find_frequencies(p, angles);
  const auto* x = static_cast<const float*>(operands[0]);
  auto* y = static_cast<float*>(operands[p.y]);
  const Range range = piece(tile, kPositions, p.time);
  for (int64_t i = range.begin; i < range.end; ++i) {
    find_angles(p, angles,
                p.positions < 0 ? i : static_cast<const int32_t*>(operands[p.positions])[i]);
    for (int64_t o = 0; o < p.outer; ++o) {
      const int64_t row = (o * p.time + i) * p.width;
      turn_row(p, angles, x + row, y + row);
    }
  }
}

}  // namespace

void launch_rotary(const NodeView& node, Emitter& emit) {
  const Tensor& x = *node.inputs[0];
  if (x.numel == 0) return;
  const auto& attributes = attributes_of<ops::Rotary::Attributes>(node);
  RotaryParams p{};
  p.width = x.dims[x.rank - 1];
  const bool positioned = node.input_count > 1 && node.inputs[1] != nullptr;
  p.positions = positioned ? 1 : -1;
  p.y = node.input_count;
  p.time = positioned ? x.numel / p.width : x.dims[x.rank - 2];
  p.outer = x.numel / (p.width * p.time);
  p.depth = attributes.depth;
  p.columns = attributes.columns;
  p.base = attributes.base;
  p.direction = attributes.inverse ? -1.0F : 1.0F;
  emit.scratch(2 * p.depth * static_cast<int64_t>(sizeof(float)));
  const double angles = static_cast<double>(p.time) * static_cast<double>(p.depth);
  const double cost = kMoveCost * static_cast<double>(x.numel) + angles * (5.0 + 12.0 / kWidth);
  emit_step(emit, rotary_tile, p, ceil_div(p.time, kPositions), cost);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
