// batchNorm: y = (x - mean) * scale + b, scale = w / sqrt(variance + eps), by channel.
//
// By the batch's statistics in three steps: tiles find count, mean and squared distances from the
// mean of their part, in one pass over memory (blocks of it are read twice while they lie in a
// cache, so that nothing cancels); these are merged in order (Chan, Golub and LeVeque 1979); then
// everything is scaled, a residual added, and an activation applied while it is in the cache. By
// given statistics the first step falls away. y may lie on x or on the residual.
//
// pooledNorm scales a plane in scratch memory, from which its maxima are taken.
#include "core/ops/pooled_norm.h"
#include "cpu/isa/channels.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/pool_max.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int64_t kBlock = 4096;   // elements of a channel between two passes over them
constexpr int64_t kRowBlock = 64;  // rows of columns, likewise

struct BatchNormParams {
  Channels shape;
  float epsilon;
  // operands
  int32_t w, b;  // -1 where left out
  int32_t y, residual;
  int32_t mean, variance;
  int32_t scale;     // workspace [c]
  int32_t partial;   // workspace [chunks][2][c] of doubles: means, squares
  RowFn activation;  // null for none
  float activation_attributes[2];
};

// ---- statistics --------------------------------------------------------------------------------

/// Of `count` numbers their mean and the sum of squared distances from it are merged with those of
/// `more` others. How much the second count weighs is the same for all channels.
struct Merging {
  double share, weight;
};
TANDEM_INLINE Merging merging(double count, double more) {
  return {more / (count + more), count * more / (count + more)};
}
TANDEM_INLINE void merge(const Merging& by, double& mean, double& squares, double other_mean,
                         double other_squares) {
  const double distance = other_mean - mean;
  mean += distance * by.share;
  squares += other_squares + distance * distance * by.weight;
}

/// `runs` runs of `l` elements, `stride` apart.
Moments run_moments(const float* x, int64_t runs, int64_t l, int64_t stride) {
  auto sum = no_sums<1>();
  for (int64_t r = 0; r < runs; ++r) {
    const float* from = x + r * stride;
    add_run(sum, l, [&](int64_t i, int64_t m, Vec(&out)[1]) { out[0] = load_up_to(from + i, m); });
  }
  finish(sum);
  const auto count = static_cast<double>(runs * l);
  const auto rounded = static_cast<float>(sum.totals[0] / count);
  const Vec center = set1(rounded);
  auto distances = no_sums<2>();
  for (int64_t r = 0; r < runs; ++r) {
    const float* from = x + r * stride;
    add_run(distances, l, [&](int64_t i, int64_t m, Vec(&out)[2]) {
      out[0] = load_up_to(from + i, m) - center;
      out[1] = out[0] * out[0];
    });
  }
  finish(distances);
  const Moments found = moments_about(rounded, distances.totals, count);
  return __builtin_isfinite(found.squares) ? found : moments_in_double(x, runs, l, stride, 1);
}

void plane_statistics(const BatchNormParams& p, const float* x, Range channels, Range samples,
                      double* partial) {
  const Channels& s = p.shape;
  const int64_t together = most(kBlock / s.l, 1);
  for (int64_t c = channels.begin; c < channels.end; ++c) {
    double mean = 0.0;
    double squares = 0.0;
    int64_t done = 0;
    for (int64_t n = samples.begin; n < samples.end; n += together) {
      const int64_t runs = least(together, samples.end - n);
      const Moments more = run_moments(x + (n * s.c + c) * s.l, runs, s.l, s.c * s.l);
      merge(merging(static_cast<double>(done), static_cast<double>(runs * s.l)), mean, squares,
            more.mean, more.squares);
      done += runs * s.l;
    }
    partial[c] = mean;
    partial[s.c + c] = squares;
  }
}

void column_statistics(const BatchNormParams& p, const float* x, Range channels, Range samples,
                       double* partial) {
  const int64_t c = p.shape.c;
  const int64_t columns = channels.end - channels.begin;
  double* means = partial + channels.begin;
  double* squares = means + c;
  for (int64_t i = 0; i < columns; ++i) means[i] = squares[i] = 0.0;
  for (int64_t n = samples.begin; n < samples.end; n += kRowBlock) {
    const int64_t rows = least(kRowBlock, samples.end - n);
    const int64_t at = n * c + channels.begin;
    const auto count = static_cast<double>(rows);
    float centers[1][kColumnStrip];
    add_columns(
        rows, columns, at, c,
        [&](int64_t from, int64_t, int64_t m, Vec(&out)[1]) { out[0] = load_up_to(x + from, m); },
        centers);
    const Vec per_row = set1(static_cast<float>(1.0 / count));
    each_vector(columns, [&](int64_t i, int64_t m) {
      store_up_to(centers[0] + i, load_up_to(centers[0] + i, m) * per_row, m);
    });
    float sums[2][kColumnStrip];  // of distances: what rounding has left; and of their squares
    add_columns(
        rows, columns, at, c,
        [&](int64_t from, int64_t column, int64_t m, Vec(&out)[2]) {
          out[0] = load_up_to(x + from, m) - load_up_to(centers[0] + column, m);
          out[1] = out[0] * out[0];
        },
        sums);
    const Merging by = merging(static_cast<double>(n - samples.begin), count);
    for (int64_t i = 0; i < columns; ++i) {
      const double of_column[] = {static_cast<double>(sums[0][i]), static_cast<double>(sums[1][i])};
      Moments found = moments_about(centers[0][i], of_column, count);
      if (!__builtin_isfinite(found.squares)) found = moments_in_double(x + at + i, 1, rows, 0, c);
      merge(by, means[i], squares[i], found.mean, found.squares);
    }
  }
}

void statistics_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<BatchNormParams>(params);
  const Channels& s = p.shape;
  const auto* x = static_cast<const float*>(operands[0]);
  const int64_t chunk = tile % s.chunks;
  const Range channels = piece(tile / s.chunks, s.block, s.c);
  const Range samples = piece(chunk, s.samples, s.n);
  double* partial = static_cast<double*>(operands[p.partial]) + chunk * 2 * s.c;
  if (s.l > 1) {
    plane_statistics(p, x, channels, samples, partial);
  } else {
    column_statistics(p, x, channels, samples, partial);
  }
}

/// Mean, variance and scale of some channels.
void merge_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<BatchNormParams>(params);
  const Channels& s = p.shape;
  const auto* w = floats_or_null(operands, p.w);
  auto* mean = static_cast<float*>(operands[p.mean]);
  auto* variance = static_cast<float*>(operands[p.variance]);
  auto* scale = static_cast<float*>(operands[p.scale]);
  const auto* partial = static_cast<const double*>(operands[p.partial]);
  const Range channels = piece(tile, kChannelsATile, s.c);
  const int64_t columns = channels.end - channels.begin;
  double means[kChannelsATile] = {};
  double squares[kChannelsATile] = {};
  for (int64_t chunk = 0; chunk < s.chunks; ++chunk) {
    const Range samples = piece(chunk, s.samples, s.n);
    const Merging by = merging(static_cast<double>(samples.begin),
                               static_cast<double>(samples.end - samples.begin));
    const Merging elements{by.share, by.weight * static_cast<double>(s.l)};
    const double* from = partial + chunk * 2 * s.c + channels.begin;
    for (int64_t i = 0; i < columns; ++i)
      merge(elements, means[i], squares[i], from[i], from[s.c + i]);
  }
  const double count = static_cast<double>(s.n) * static_cast<double>(s.l);
  for (int64_t i = 0; i < columns; ++i) {
    const int64_t c = channels.begin + i;
    const double spread = (squares[i] < 0.0 ? 0.0 : squares[i]) / count;
    mean[c] = static_cast<float>(means[i]);
    variance[c] = static_cast<float>(spread);
    scale[c] = static_cast<float>(static_cast<double>(number_at(w, c, 1.0F)) /
                                  __builtin_sqrt(spread + static_cast<double>(p.epsilon)));
  }
}

/// The scale of some channels, from given statistics.
void scale_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<BatchNormParams>(params);
  const auto* w = floats_or_null(operands, p.w);
  const auto* variance = static_cast<const float*>(operands[p.variance]);
  auto* scale = static_cast<float*>(operands[p.scale]);
  const Range channels = piece(tile, kChannelsATile, p.shape.c);
  each_vector(channels.end - channels.begin, [&](int64_t i, int64_t m) {
    const int64_t c = channels.begin + i;
    const Vec deviation = sqrt_(load_up_to(variance + c, m) + set1(p.epsilon));
    store_up_to(scale + c, numbers_at(w, c, m, 1.0F) / deviation, m);
  });
}

// ---- scaling -----------------------------------------------------------------------------------

struct ChannelNumbers {
  Vec mean, scale, bias;
};

void apply_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<BatchNormParams>(params);
  const auto* x = static_cast<const float*>(operands[0]);
  const auto* b = floats_or_null(operands, p.b);
  const auto* mean = static_cast<const float*>(operands[p.mean]);
  const auto* scale = static_cast<const float*>(operands[p.scale]);
  const auto* residual = floats_or_null(operands, p.residual);
  auto* y = static_cast<float*>(operands[p.y]);
  each_of_tile(
      p.shape, tile,
      [&](int64_t c) {
        return ChannelNumbers{set1(mean[c]), set1(scale[c]), set1(number_at(b, c, 0.0F))};
      },
      [&](int64_t c, int64_t m) {
        return ChannelNumbers{load_up_to(mean + c, m), load_up_to(scale + c, m),
                              numbers_at(b, c, m, 0.0F)};
      },
      [&](int64_t at, int64_t m, const ChannelNumbers& of) {
        Vec v = fma(load_up_to(x + at, m) - of.mean, of.scale, of.bias);
        if (residual != nullptr) v += load_up_to(residual + at, m);
        store_up_to(y + at, v, m);
      });
  if (p.activation == nullptr) return;
  each_run_of_tile(p.shape, tile, [&](int64_t at, int64_t n) {
    p.activation(y + at, nullptr, y + at, n, p.activation_attributes);
  });
}

struct PooledNormParams {
  BatchNormParams norm;
  MaxPooling pooling;
  int32_t places;  // operand; -1 where they are not wanted
};

void pooled_tile(const void* params, void* const* operands, int64_t tile,
                 const TileContext& context) {
  const auto& [p, pooling, places] = params_of<PooledNormParams>(params);
  const Channels& s = p.shape;
  const auto* x = static_cast<const float*>(operands[0]);
  const auto* b = floats_or_null(operands, p.b);
  const auto* mean = static_cast<const float*>(operands[p.mean]);
  const auto* scale = static_cast<const float*>(operands[p.scale]);
  auto* y = static_cast<float*>(operands[p.y]);
  auto* at = places < 0 ? nullptr : static_cast<int32_t*>(operands[places]);
  auto* plane = static_cast<float*>(context.scratch);
  const int64_t pixels = pooling.out_rows * pooling.out_columns;
  const Range runs = piece(tile, runs_per_tile(s), s.n * s.c);
  for (int64_t run = runs.begin; run < runs.end; ++run) {
    const int64_t c = run % s.c;
    const Vec center = set1(mean[c]), factor = set1(scale[c]), bias = set1(number_at(b, c, 0.0F));
    each_vector(s.l, [&](int64_t i, int64_t m) {
      store_up_to(plane + i, fma(load_up_to(x + run * s.l + i, m) - center, factor, bias), m);
    });
    if (p.activation != nullptr) p.activation(plane, nullptr, plane, s.l, p.activation_attributes);
    max_of_plane(pooling, plane, y + run * pixels, at == nullptr ? nullptr : at + run * pixels);
  }
}

// ---- running statistics ------------------------------------------------------------------------

struct UpdateParams {
  int64_t c;
  float momentum;
  float correction;  // of the variance; 0: leave it as it is
};

void update_tile(const void* params, void* const* operands, int64_t tile,
                 const TileContext& context) {
  if (context.state->skip != 0) return;
  const auto& p = params_of<UpdateParams>(params);
  const Range channels = piece(tile, kChannelTile, p.c);
  const auto move = [&](int which, float share, float factor) {
    auto* running = static_cast<float*>(operands[which]);
    const auto* now = static_cast<const float*>(operands[which + 2]);
    each_vector(channels.end - channels.begin, [&](int64_t i, int64_t m) {
      const int64_t c = channels.begin + i;
      const Vec kept = load_up_to(running + c, m) * set1(1.0F - share);
      store_up_to(running + c, fma(load_up_to(now + c, m) * set1(factor), set1(share), kept), m);
    });
  };
  move(0, p.momentum, 1.0F);
  if (p.correction > 0.0F) move(1, p.momentum, p.correction);
}

// Operands: x, w, b, mean, variance, residual; y and, by the batch, its mean and variance;
// workspaces.
BatchNormParams batch_norm_params(const NodeView& node, const ops::BatchNormAttributes& attributes,
                                  Emitter& emit) {
  BatchNormParams p{};
  p.shape = channels_of(*node.inputs[0]);
  p.epsilon = attributes.epsilon;
  const auto given = [&](int32_t i) {
    return i < node.input_count && node.inputs[i] != nullptr ? i : -1;
  };
  p.w = given(1);
  p.b = given(2);
  p.residual = given(ops::BatchNorm::kResidual);
  p.y = node.input_count;
  p.mean = attributes.by_batch ? p.y + 1 : 3;
  p.variance = p.mean + 1;
  p.scale = emit.workspace(p.shape.c * 4);
  p.partial = attributes.by_batch ? emit.workspace(p.shape.chunks * p.shape.c * 16) : -1;
  if (attributes.activation >= 0) {
    p.activation = row_function(static_cast<Op>(attributes.activation));
    p.activation_attributes[0] = attributes.activation_attributes.a;
    p.activation_attributes[1] = attributes.activation_attributes.b;
  }
  return p;
}

constexpr double kLaneCost = kWidth == 1 ? 0.5 : 0.08;

double elements_of(const Channels& s) {
  return static_cast<double>(s.n) * static_cast<double>(s.c) * static_cast<double>(s.l);
}

/// Steps that find what each channel is scaled by.
void emit_scales(const BatchNormParams& p, Emitter& emit) {
  const auto channels = static_cast<double>(p.shape.c);
  const int64_t groups = ceil_div(p.shape.c, kChannelsATile);
  if (p.partial < 0) {
    emit_step(emit, scale_tile, p, groups, 10.0 + (kWidth == 1 ? 8.0 : 1.0) * channels);
    return;
  }
  const double elements = elements_of(p.shape);
  const double runs = elements / static_cast<double>(most(p.shape.l, 64));
  emit_step(emit, statistics_tile, p, statistics_tiles(p.shape),
            20.0 + 2.0 * kLaneCost * elements + 20.0 * runs);
  emit_step(emit, merge_tile, p, groups,
            20.0 + channels * (10.0 + 5.0 * static_cast<double>(p.shape.chunks)));
}

/// Scaling and, where there is one, the activation.
double apply_cost(const BatchNormParams& p) {
  const double passes = p.activation == nullptr ? 1.0 : 2.0;
  return 20.0 + passes * (kMoveCost + kLaneCost) * elements_of(p.shape);
}

}  // namespace

void launch_batchNorm(const NodeView& node, Emitter& emit) {
  if (node.inputs[0]->numel == 0) return;
  const auto p = batch_norm_params(node, attributes_of<ops::BatchNormAttributes>(node), emit);
  emit_scales(p, emit);
  emit_step(emit, apply_tile, p, apply_tiles(p.shape), apply_cost(p));
}

void launch_pooledNorm(const NodeView& node, Emitter& emit) {
  const auto& [norm, pool] = attributes_of<ops::PooledNorm::Attributes>(node);
  if (node.inputs[0]->numel == 0) return;
  PooledNormParams p{batch_norm_params(node, norm, emit),
                     max_pooling_of(pool, *node.inputs[0], *node.outputs[0]), -1};
  if (pool.save_indices) p.places = p.norm.y + (norm.by_batch ? 3 : 1);
  const Channels& s = p.norm.shape;
  emit.scratch(s.l * 4);
  emit_scales(p.norm, emit);
  emit_step(emit, pooled_tile, p, ceil_div(s.n * s.c, runs_per_tile(s)),
            apply_cost(p.norm) + max_cost(p.pooling));
}

void launch_batchNormUpdate(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::BatchNormUpdate::Attributes>(node);
  UpdateParams p{};
  p.c = node.inputs[0]->numel;
  p.momentum = attributes.momentum;
  const auto count = static_cast<double>(attributes.count);
  p.correction = attributes.count > 1 ? static_cast<float>(count / (count - 1.0)) : 0.0F;
  emit_step(emit, update_tile, p, ceil_div(p.c, kChannelTile),
            10.0 + 2.0 * kMoveCost * static_cast<double>(p.c));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
