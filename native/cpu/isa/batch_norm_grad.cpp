// The gradient of batchNorm. With r = (variance + eps)^-1/2, by channel:
//   db = sum(dy), dw = r * sum(dy * (x - mean)),
//   dx = w r (dy - db / count - (x - mean) r dw / count) for the batch's own statistics,
//   dx = w r dy for given ones.
// Tiles sum their part of db and dw, these sums are added in order, then dx is written (=), which
// may lie on dy or x.
//
// Of pooledNormGrad only the maxima have a dy: for the sums x is looked up where they are, for dx
// the dy of a plane are put in their places in scratch memory.
#include "core/ops/pooled_norm.h"
#include "cpu/isa/channels.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/pool_max.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct BatchNormGradParams {
  Channels shape;
  float epsilon;
  bool by_batch;
  // operands
  int32_t x, w;  // w may be null
  int32_t mean, variance;
  int32_t dx;
  int32_t dw, db;   // -1 where not wanted
  int32_t scale;    // workspaces [c]: what dx is times,
  int32_t shift;    //   the mean of dy
  int32_t slope;    //   and what x - mean is times
  int32_t partial;  // workspace [chunks][2][c] of doubles: sums of dy, of dy (x - mean)
};

/// A run of dy and the elements of x that it belongs to.
struct Run {
  const float *dy, *x;
};

/// Of channel `c`; `run_of(n)` gives the `length` elements of sample n.
template <typename Runs>
TANDEM_INLINE void plane_sums(const Channels& s, int64_t c, float mean, Range samples,
                              int64_t length, double* partial, Runs run_of) {
  const Vec center = set1(mean);
  auto sums = no_sums<2>();
  for (int64_t n = samples.begin; n < samples.end; ++n) {
    const Run run = run_of(n);
    add_run(sums, length, [&](int64_t i, int64_t m, Vec(&out)[2]) {
      out[0] = load_up_to(run.dy + i, m);
      out[1] = out[0] * (load_up_to(run.x + i, m) - center);
    });
  }
  finish(sums);
  partial[c] = sums.totals[0];
  partial[s.c + c] = sums.totals[1];
}

void column_sums(const Channels& s, const float* dy, const float* x, const float* mean,
                 Range channels, Range samples, double* partial) {
  const int64_t columns = channels.end - channels.begin;
  double* first = partial + channels.begin;
  double* second = first + s.c;
  for (int64_t i = 0; i < columns; ++i) first[i] = second[i] = 0.0;
  for (int64_t n = samples.begin; n < samples.end; n += kSumRun) {
    float sums[2][kColumnStrip];
    add_columns(
        least(kSumRun, samples.end - n), columns, n * s.c + channels.begin, s.c,
        [&](int64_t at, int64_t column, int64_t m, Vec(&out)[2]) {
          out[0] = load_up_to(dy + at, m);
          out[1] = out[0] * (load_up_to(x + at, m) - load_up_to(mean + channels.begin + column, m));
        },
        sums);
    for (int64_t i = 0; i < columns; ++i) {
      first[i] += static_cast<double>(sums[0][i]);
      second[i] += static_cast<double>(sums[1][i]);
    }
  }
}

/// The part of the sums that a tile finds.
struct SumsTile {
  Range channels, samples;
  double* partial;
};

SumsTile sums_of_tile(const BatchNormGradParams& p, void* const* operands, int64_t tile) {
  const Channels& s = p.shape;
  const int64_t chunk = tile % s.chunks;
  return {piece(tile / s.chunks, s.block, s.c), piece(chunk, s.samples, s.n),
          static_cast<double*>(operands[p.partial]) + chunk * 2 * s.c};
}

void sums_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<BatchNormGradParams>(params);
  const Channels& s = p.shape;
  const auto [channels, samples, partial] = sums_of_tile(p, operands, tile);
  const auto* dy = static_cast<const float*>(operands[0]);
  const auto* x = static_cast<const float*>(operands[p.x]);
  const auto* mean = static_cast<const float*>(operands[p.mean]);
  if (s.l == 1) return column_sums(s, dy, x, mean, channels, samples, partial);
  for (int64_t c = channels.begin; c < channels.end; ++c)
    plane_sums(s, c, mean[c], samples, s.l, partial, [&](int64_t n) {
      const int64_t at = (n * s.c + c) * s.l;
      return Run{dy + at, x + at};
    });
}

/// dw, db, and what dx is computed with, of some channels.
void merge_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<BatchNormGradParams>(params);
  const Channels& s = p.shape;
  const auto* w = static_cast<const float*>(operands[p.w]);
  const auto* variance = static_cast<const float*>(operands[p.variance]);
  const auto* partial = static_cast<const double*>(p.partial < 0 ? nullptr : operands[p.partial]);
  const Range channels = piece(tile, kChannelsATile, s.c);
  const int64_t columns = channels.end - channels.begin;
  double db[kChannelsATile] = {};
  double products[kChannelsATile] = {};
  for (int64_t chunk = 0; partial != nullptr && chunk < s.chunks; ++chunk) {
    const double* from = partial + chunk * 2 * s.c + channels.begin;
    for (int64_t i = 0; i < columns; ++i) {
      db[i] += from[i];
      products[i] += from[s.c + i];
    }
  }
  const double count = static_cast<double>(s.n) * static_cast<double>(s.l);
  for (int64_t i = 0; i < columns; ++i) {
    const int64_t c = channels.begin + i;
    const double r =
        1.0 / __builtin_sqrt(static_cast<double>(variance[c]) + static_cast<double>(p.epsilon));
    static_cast<float*>(operands[p.scale])[c] =
        static_cast<float>(static_cast<double>(number_at(w, c, 1.0F)) * r);
    if (p.dw >= 0) {
      static_cast<float*>(operands[p.dw])[c] = static_cast<float>(products[i] * r);
      static_cast<float*>(operands[p.db])[c] = static_cast<float>(db[i]);
    }
    if (p.by_batch) {
      static_cast<float*>(operands[p.shift])[c] = static_cast<float>(db[i] / count);
      static_cast<float*>(operands[p.slope])[c] = static_cast<float>(products[i] * r * r / count);
    }
  }
}

struct ChannelNumbers {
  Vec scale, shift, slope, mean;
};

/// What dx is computed with.
struct Applied {
  const float *x, *mean, *scale, *shift, *slope;
  float* dx;

  Applied(const BatchNormGradParams& p, void* const* operands)
      : x(static_cast<const float*>(operands[p.x])),
        mean(static_cast<const float*>(operands[p.mean])),
        scale(static_cast<const float*>(operands[p.scale])),
        shift(floats_or_null(operands, p.shift)),
        slope(floats_or_null(operands, p.slope)),
        dx(static_cast<float*>(operands[p.dx])) {}
};

TANDEM_INLINE ChannelNumbers of_channel(const Applied& a, int64_t c) {
  return {set1(a.scale[c]), set1(number_at(a.shift, c, 0.0F)), set1(number_at(a.slope, c, 0.0F)),
          set1(a.mean[c])};
}

/// Elements [at, at + m) of dx.
template <bool by_batch>
TANDEM_INLINE void apply(const Applied& a, const float* dy, int64_t at, int64_t m,
                         const ChannelNumbers& of) {
  Vec d = load_up_to(dy, m);
  if constexpr (by_batch)
    d = minus_product(d - of.shift, load_up_to(a.x + at, m) - of.mean, of.slope);
  store_up_to(a.dx + at, d * of.scale, m);
}

template <bool by_batch>
void apply_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<BatchNormGradParams>(params);
  const auto* dy = static_cast<const float*>(operands[0]);
  const Applied a(p, operands);
  each_of_tile(
      p.shape, tile, [&](int64_t c) { return of_channel(a, c); },
      [&](int64_t c, int64_t m) {
        return ChannelNumbers{load_up_to(a.scale + c, m), numbers_at(a.shift, c, m, 0.0F),
                              numbers_at(a.slope, c, m, 0.0F), load_up_to(a.mean + c, m)};
      },
      [&](int64_t at, int64_t m, const ChannelNumbers& of) {
        apply<by_batch>(a, dy + at, at, m, of);
      });
}

// ---- of maxima ---------------------------------------------------------------------------------

struct PooledNormGradParams {
  BatchNormGradParams norm;
  MaxPooling pooling;
};

void pooled_sums_tile(const void* params, void* const* operands, int64_t tile,
                      const TileContext& context) {
  const auto& whole = params_of<PooledNormGradParams>(params);
  const BatchNormGradParams& p = whole.norm;
  const Channels& s = p.shape;
  const auto [channels, samples, partial] = sums_of_tile(p, operands, tile);
  const auto* dy = static_cast<const float*>(operands[0]);
  const auto* places = static_cast<const int32_t*>(operands[1]);
  const auto* x = static_cast<const float*>(operands[p.x]);
  const auto* mean = static_cast<const float*>(operands[p.mean]);
  auto* values = static_cast<float*>(context.scratch);
  const int64_t pixels = whole.pooling.out_rows * whole.pooling.out_columns;
  for (int64_t c = channels.begin; c < channels.end; ++c)
    plane_sums(s, c, mean[c], samples, pixels, partial, [&](int64_t n) {
      const int64_t run = n * s.c + c;
      find_values(whole.pooling, x + run * s.l, places + run * pixels, values);
      return Run{dy + run * pixels, values};
    });
}

template <bool by_batch>
void pooled_apply_tile(const void* params, void* const* operands, int64_t tile,
                       const TileContext& context) {
  const auto& [p, pooling] = params_of<PooledNormGradParams>(params);
  const Channels& s = p.shape;
  const Applied a(p, operands);
  const auto* dy = static_cast<const float*>(operands[0]);
  const auto* places = static_cast<const int32_t*>(operands[1]);
  auto* plane = static_cast<float*>(context.scratch);
  const int64_t pixels = pooling.out_rows * pooling.out_columns;
  const Range runs = piece(tile, runs_per_tile(s), s.n * s.c);
  for (int64_t run = runs.begin; run < runs.end; ++run) {
    const ChannelNumbers of = of_channel(a, run % s.c);
    spread_plane(pooling, dy + run * pixels, places + run * pixels, plane);
    each_vector(s.l,
                [&](int64_t i, int64_t m) { apply<by_batch>(a, plane + i, run * s.l + i, m, of); });
  }
}

// ---- steps -------------------------------------------------------------------------------------

/// Operands: dy (of maxima also their places), x, w, mean, variance; dx and, with `affine`, dw and
/// db; workspaces.
BatchNormGradParams grad_params(const ops::BatchNormGrad::Attributes& attributes, const Tensor& x,
                                int32_t x_at, Emitter& emit) {
  BatchNormGradParams p{};
  p.shape = channels_of(x);
  p.epsilon = attributes.epsilon;
  p.by_batch = attributes.by_batch;
  p.x = x_at;
  p.w = x_at + 1;
  p.mean = x_at + 2;
  p.variance = x_at + 3;
  p.dx = x_at + 4;
  p.dw = attributes.affine ? p.dx + 1 : -1;
  p.db = attributes.affine ? p.dx + 2 : -1;
  p.scale = emit.workspace(p.shape.c * 4);
  p.shift = p.by_batch ? emit.workspace(p.shape.c * 4) : -1;
  p.slope = p.by_batch ? emit.workspace(p.shape.c * 4) : -1;
  const bool sums = p.by_batch || attributes.affine;
  p.partial = sums ? emit.workspace(p.shape.chunks * p.shape.c * 16) : -1;
  return p;
}

constexpr double kLaneCost = kWidth == 1 ? 0.5 : 0.08;

double sums_cost(const Channels& s, double elements) {
  const double runs = elements / static_cast<double>(most(s.l, 64));
  return 20.0 + (kMoveCost + kLaneCost) * elements + 20.0 * runs;
}

double apply_cost(double elements) { return 20.0 + (1.5 * kMoveCost + kLaneCost) * elements; }

void emit_merge(const BatchNormGradParams& p, Emitter& emit) {
  const auto channels = static_cast<double>(p.shape.c);
  emit_step(emit, merge_tile, p, ceil_div(p.shape.c, kChannelsATile),
            20.0 + channels * (10.0 + 2.0 * static_cast<double>(p.shape.chunks)));
}

}  // namespace

void launch_batchNormGrad(const NodeView& node, Emitter& emit) {
  const Tensor& x = *node.inputs[1];
  const auto elements = static_cast<double>(x.numel);
  const auto p = grad_params(attributes_of<ops::BatchNormGrad::Attributes>(node), x, 1, emit);
  if (p.partial >= 0)
    emit_step(emit, sums_tile, p, statistics_tiles(p.shape), sums_cost(p.shape, elements));
  emit_merge(p, emit);
  emit_step(emit, p.by_batch ? apply_tile<true> : apply_tile<false>, p,
            x.numel == 0 ? 0 : apply_tiles(p.shape), apply_cost(elements));
}

void launch_pooledNormGrad(const NodeView& node, Emitter& emit) {
  const auto& [norm, pool] = attributes_of<ops::PooledNormGrad::Attributes>(node);
  const Tensor& x = *node.inputs[2];
  const auto elements = static_cast<double>(x.numel);
  const PooledNormGradParams p{grad_params(norm, x, 2, emit),
                               max_pooling_of(pool, x, *node.inputs[0])};
  const Channels& s = p.norm.shape;
  const int64_t pixels = p.pooling.out_rows * p.pooling.out_columns;
  emit.scratch(most(s.l, pixels) * 4);
  if (p.norm.partial >= 0)
    emit_step(emit, pooled_sums_tile, p, statistics_tiles(s),
              sums_cost(s, 2.0 * static_cast<double>(node.inputs[0]->numel)));
  emit_merge(p.norm, emit);
  emit_step(emit, p.norm.by_batch ? pooled_apply_tile<true> : pooled_apply_tile<false>, p,
            x.numel == 0 ? 0 : ceil_div(s.n * s.c, runs_per_tile(s)),
            apply_cost(elements) + spread_cost(p.pooling));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
