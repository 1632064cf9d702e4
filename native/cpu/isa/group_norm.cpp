// groupNorm and its gradient over x [n, groups, channels of a group, l]. A group is one row in
// memory: its sums are those of layerNorm, its weights belong to channels. With r the inverse
// deviation, count the elements of a group, g = dy w:
//   y = (x - mean) r w + b
//   dx = r (g - sum(g) / count - (x - mean) r^2 sum(g (x - mean)) / count)
//   dw = sum(dy (x - mean) r), db = sum(dy), by channel over all samples, in order.
// y may lie on x, and dx (=) on dy or x.
#include "core/ops/group_norm.h"

#include "cpu/isa/channels.h"
#include "cpu/isa/kernels.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct GroupNormParams {
  int64_t n, groups, channels, l;  // channels of a group
  int64_t per_tile;                // groups a tile
  float epsilon;
  // operands; -1 where there is none
  int32_t w, b, y, mean, inverse;
  int32_t dw, db;
  int32_t partial;  // workspace [2][n][groups * channels] of doubles: sums of dy, dy (x - mean) r
};

TANDEM_INLINE int64_t group_size(const GroupNormParams& p) { return p.channels * p.l; }

/// Calls visit(i, m, channel numbers) for the vectors of a group whose first channel is `first`.
/// With l > 1, `prepare(c)` gives the numbers of a channel; otherwise `load_channels(c, m)` of
/// several.
template <typename Prepare, typename LoadChannels, typename Visit>
TANDEM_INLINE void each_of_group(const GroupNormParams& p, int64_t first, Prepare prepare,
                                 LoadChannels load_channels, Visit visit) {
  if (p.l == 1) {
    each_vector(p.channels,
                [&](int64_t i, int64_t m) { visit(i, m, load_channels(first + i, m)); });
    return;
  }
  for (int64_t c = 0; c < p.channels; ++c) {
    const auto numbers = prepare(first + c);
    each_vector(p.l, [&](int64_t i, int64_t m) { visit(c * p.l + i, m, numbers); });
  }
}

// ---- forward -----------------------------------------------------------------------------------

struct Affine {
  Vec w, b;
};

Moments group_moments(const float* x, int64_t size) {
  double sum[1] = {0.0};
  add_sums(size, [&](int64_t i, int64_t m, Vec(&out)[1]) { out[0] = load_up_to(x + i, m); }, sum);
  const auto count = static_cast<double>(size);
  const auto rounded = static_cast<float>(sum[0] / count);
  const Vec center = set1(rounded);
  double sums[2] = {0.0, 0.0};
  add_sums(
      size,
      [&](int64_t i, int64_t m, Vec(&out)[2]) {
        out[0] = load_up_to(x + i, m) - center;
        out[1] = out[0] * out[0];
      },
      sums);
  const Moments found = moments_about(rounded, sums, count);
  return __builtin_isfinite(found.squares) ? found : moments_in_double(x, 1, size, 0, 1);
}

void forward_group(const GroupNormParams& p, void* const* operands, int64_t group) {
  const int64_t size = group_size(p);
  const float* x = static_cast<const float*>(operands[0]) + group * size;
  const float* w = floats_or_null(operands, p.w);
  const float* b = floats_or_null(operands, p.b);
  float* y = static_cast<float*>(operands[p.y]) + group * size;
  const Moments found = group_moments(x, size);
  const auto rounded = static_cast<float>(found.mean);
  const Vec center = set1(rounded);
  double variance = found.squares / static_cast<double>(size);
  variance = variance < 0.0 ? 0.0 : variance;
  const auto inverse =
      static_cast<float>(1.0 / __builtin_sqrt(variance + static_cast<double>(p.epsilon)));
  static_cast<float*>(operands[p.mean])[group] = rounded;
  static_cast<float*>(operands[p.inverse])[group] = inverse;
  const Vec r = set1(inverse);
  each_of_group(
      p, group % p.groups * p.channels,
      [&](int64_t c) {
        return Affine{set1(number_at(w, c, 1.0F) * inverse), set1(number_at(b, c, 0.0F))};
      },
      [&](int64_t c, int64_t m) {
        return Affine{numbers_at(w, c, m, 1.0F) * r, numbers_at(b, c, m, 0.0F)};
      },
      [&](int64_t i, int64_t m, const Affine& of) {
        store_up_to(y + i, fma(load_up_to(x + i, m) - center, of.w, of.b), m);
      });
}

void forward_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<GroupNormParams>(params);
  const Range groups = piece(tile, p.per_tile, p.n * p.groups);
  for (int64_t group = groups.begin; group < groups.end; ++group) forward_group(p, operands, group);
}

// ---- gradient ----------------------------------------------------------------------------------

/// Sums of dy and of dy (x - mean) of one channel.
TANDEM_INLINE void channel_sums(const float* dy, const float* x, int64_t n, Vec center,
                                double (&sums)[2]) {
  add_sums(
      n,
      [&](int64_t i, int64_t m, Vec(&out)[2]) {
        const Vec d = load_up_to(dy + i, m);
        out[0] = d;
        out[1] = d * (load_up_to(x + i, m) - center);
      },
      sums);
}

void gradient_group(const GroupNormParams& p, void* const* operands, int64_t group) {
  const int64_t size = group_size(p);
  const float* dy = static_cast<const float*>(operands[0]) + group * size;
  const float* x = static_cast<const float*>(operands[1]) + group * size;
  const auto* w = static_cast<const float*>(operands[2]);
  const Vec center = set1(static_cast<const float*>(operands[p.mean])[group]);
  const float inverse = static_cast<const float*>(operands[p.inverse])[group];
  float* dx = static_cast<float*>(operands[p.y]) + group * size;
  const int64_t first = group % p.groups * p.channels;
  double* partial = p.partial < 0 ? nullptr : static_cast<double*>(operands[p.partial]);
  const int64_t at = group * p.channels;
  const auto r = static_cast<double>(inverse);
  double sums[2] = {0.0, 0.0};
  for (int64_t c = 0; c < p.channels; ++c) {
    double own[2] = {0.0, 0.0};
    channel_sums(dy + c * p.l, x + c * p.l, p.l, center, own);
    const auto weight = static_cast<double>(number_at(w, first + c, 1.0F));
    sums[0] += weight * own[0];
    sums[1] += weight * own[1];
    if (partial == nullptr) continue;
    partial[at + c] = own[0];
    partial[p.n * p.groups * p.channels + at + c] = own[1] * r;
  }
  const auto count = static_cast<double>(size);
  const Vec shift = set1(static_cast<float>(sums[0] / count));
  const Vec slope = set1(static_cast<float>(sums[1] * r * r / count));
  // A group of one is its mean whatever x is; g and its mean may be rounded differently.
  const Vec scale = set1(size == 1 ? 0.0F : inverse);
  each_of_group(
      p, first, [&](int64_t c) { return set1(number_at(w, c, 1.0F)); },
      [&](int64_t c, int64_t m) { return numbers_at(w, c, m, 1.0F); },
      [&](int64_t i, int64_t m, Vec weight) {
        const Vec g = load_up_to(dy + i, m) * weight - shift;
        store_up_to(dx + i, minus_product(g, load_up_to(x + i, m) - center, slope) * scale, m);
      });
}

void gradient_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<GroupNormParams>(params);
  const Range groups = piece(tile, p.per_tile, p.n * p.groups);
  for (int64_t group = groups.begin; group < groups.end; ++group)
    gradient_group(p, operands, group);
}

/// dw and db of some channels: the samples in order.
void merge_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<GroupNormParams>(params);
  const int64_t channels = p.groups * p.channels;
  const auto* sums = static_cast<const double*>(operands[p.partial]);
  const double* products = sums + p.n * channels;
  const Range range = piece(tile, kChannelsATile, channels);
  for (int64_t c = range.begin; c < range.end; ++c) {
    double db = 0.0;
    double dw = 0.0;
    for (int64_t n = 0; n < p.n; ++n) {
      db += sums[n * channels + c];
      dw += products[n * channels + c];
    }
    static_cast<float*>(operands[p.dw])[c] = static_cast<float>(dw);
    static_cast<float*>(operands[p.db])[c] = static_cast<float>(db);
  }
}

GroupNormParams params_for(const Tensor& x, const ops::GroupNormAttributes& attributes) {
  GroupNormParams p{};
  p.groups = attributes.groups;
  p.channels = x.dims[1] / p.groups;
  p.n = x.numel == 0 ? 0 : x.dims[0];
  p.l = x.numel == 0 ? 1 : stride_of(x, 1);
  p.per_tile = most(kChannelTile / group_size(p), 1);
  p.epsilon = attributes.epsilon;
  p.dw = p.db = p.partial = -1;
  return p;
}

double cost_of(const GroupNormParams& p, double passes) {
  const auto groups = static_cast<double>(p.n * p.groups);
  const double lanes = kWidth == 1 ? 1.0 : 0.05;
  return 20.0 + (passes * kMoveCost + 2.0 * lanes) * groups * static_cast<double>(group_size(p)) +
         30.0 * groups * (p.l == 1 ? 1.0 : static_cast<double>(p.channels));
}

}  // namespace

// Operands: x, w, b; y, the means, the inverse deviations.
void launch_groupNorm(const NodeView& node, Emitter& emit) {
  GroupNormParams p = params_for(*node.inputs[0], attributes_of<ops::GroupNormAttributes>(node));
  const auto given = [&](int32_t i) {
    return i < node.input_count && node.inputs[i] != nullptr ? i : -1;
  };
  p.w = given(1);
  p.b = given(2);
  p.y = node.input_count;
  p.mean = p.y + 1;
  p.inverse = p.y + 2;
  emit_step(emit, forward_tile, p, ceil_div(p.n * p.groups, p.per_tile), cost_of(p, 1.0));
}

// Operands: dy, x, w, mean, inverse deviation; dx, dw, db; a workspace.
void launch_groupNormGrad(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::GroupNormAttributes>(node);
  GroupNormParams p = params_for(*node.inputs[1], attributes);
  p.mean = 3;
  p.inverse = 4;
  p.y = 5;
  if (attributes.affine) {
    p.dw = 6;
    p.db = 7;
    p.partial = emit.workspace(p.n * p.groups * p.channels * 16);
  }
  emit_step(emit, gradient_tile, p, ceil_div(p.n * p.groups, p.per_tile), cost_of(p, 2.0));
  if (!attributes.affine) return;
  const int64_t channels = p.groups * p.channels;
  emit_step(emit, merge_tile, p, ceil_div(channels, kChannelsATile),
            20.0 + 2.0 * static_cast<double>(p.n * channels));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
