// The gradient of batchNorm. With r = (variance + eps)^-1/2, by channel:
//   db = sum(dy), dw = r * sum(dy * (x - mean)),
//   dx = w r (dy - db / count - (x - mean) r dw / count) for the batch's own statistics,
//   dx = w r dy for given ones.
// Tiles sum their part of db and dw, these sums are added in order, then dx is written (=), which
// may lie on dy or x.
#include "core/ops/batch_norm.h"
#include "cpu/isa/channels.h"
#include "cpu/isa/kernels.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct BatchNormGradParams {
  Channels shape;
  float epsilon;
  bool by_batch;
  // operands: dy, x, w (may be null), mean, variance, dx
  int32_t dw, db;   // -1 where not wanted
  int32_t scale;    // workspaces [c]: what dx is times,
  int32_t shift;    //   the mean of dy
  int32_t slope;    //   and what x - mean is times
  int32_t partial;  // workspace [chunks][2][c] of doubles: sums of dy, of dy (x - mean)
};

void plane_sums(const Channels& s, const float* dy, const float* x, const float* mean,
                Range channels, Range samples, double* partial) {
  for (int64_t c = channels.begin; c < channels.end; ++c) {
    const Vec center = set1(mean[c]);
    auto sums = no_sums<2>();
    for (int64_t n = samples.begin; n < samples.end; ++n) {
      const int64_t base = (n * s.c + c) * s.l;
      add_run(sums, s.l, [&](int64_t i, int64_t m, Vec(&out)[2]) {
        out[0] = load_up_to(dy + base + i, m);
        out[1] = out[0] * (load_up_to(x + base + i, m) - center);
      });
    }
    finish(sums);
    partial[c] = sums.totals[0];
    partial[s.c + c] = sums.totals[1];
  }
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

void sums_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<BatchNormGradParams>(params);
  const Channels& s = p.shape;
  const int64_t chunk = tile % s.chunks;
  const Range channels = piece(tile / s.chunks, s.block, s.c);
  const Range samples = piece(chunk, s.samples, s.n);
  double* partial = static_cast<double*>(operands[p.partial]) + chunk * 2 * s.c;
  const auto run = s.l > 1 ? plane_sums : column_sums;
  run(s, static_cast<const float*>(operands[0]), static_cast<const float*>(operands[1]),
      static_cast<const float*>(operands[3]), channels, samples, partial);
}

/// dw, db, and what dx is computed with, of some channels.
void merge_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<BatchNormGradParams>(params);
  const Channels& s = p.shape;
  const auto* w = static_cast<const float*>(operands[2]);
  const auto* variance = static_cast<const float*>(operands[4]);
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

template <bool by_batch>
void apply_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<BatchNormGradParams>(params);
  const auto* dy = static_cast<const float*>(operands[0]);
  const auto* x = static_cast<const float*>(operands[1]);
  const auto* mean = static_cast<const float*>(operands[3]);
  const auto* scale = static_cast<const float*>(operands[p.scale]);
  const float* shift = by_batch ? static_cast<const float*>(operands[p.shift]) : nullptr;
  const float* slope = by_batch ? static_cast<const float*>(operands[p.slope]) : nullptr;
  auto* dx = static_cast<float*>(operands[5]);
  each_of_tile(
      p.shape, tile,
      [&](int64_t c) {
        return ChannelNumbers{set1(scale[c]), set1(number_at(shift, c, 0.0F)),
                              set1(number_at(slope, c, 0.0F)), set1(mean[c])};
      },
      [&](int64_t c, int64_t m) {
        return ChannelNumbers{load_up_to(scale + c, m), numbers_at(shift, c, m, 0.0F),
                              numbers_at(slope, c, m, 0.0F), load_up_to(mean + c, m)};
      },
      [&](int64_t at, int64_t m, const ChannelNumbers& of) {
        Vec d = load_up_to(dy + at, m);
        if constexpr (by_batch)
          d = minus_product(d - of.shift, load_up_to(x + at, m) - of.mean, of.slope);
        store_up_to(dx + at, d * of.scale, m);
      });
}

}  // namespace

void launch_batchNormGrad(const NodeView& node, Emitter& emit) {
  const Tensor& x = *node.inputs[1];
  const auto& attributes = attributes_of<ops::BatchNormGrad::Attributes>(node);
  BatchNormGradParams p{};
  p.shape = channels_of(x);
  p.epsilon = attributes.epsilon;
  p.by_batch = attributes.by_batch;
  p.dw = attributes.affine ? 6 : -1;
  p.db = attributes.affine ? 7 : -1;
  p.scale = emit.workspace(p.shape.c * 4);
  p.shift = p.slope = p.partial = -1;
  if (p.by_batch) {
    p.shift = emit.workspace(p.shape.c * 4);
    p.slope = emit.workspace(p.shape.c * 4);
  }
  const auto channels = static_cast<double>(p.shape.c);
  const auto elements = static_cast<double>(x.numel);
  const double lanes = kWidth == 1 ? 0.5 : 0.08;
  if (p.by_batch || attributes.affine) {
    p.partial = emit.workspace(p.shape.chunks * p.shape.c * 16);
    const double runs = elements / static_cast<double>(most(p.shape.l, 64));
    emit_step(emit, sums_tile, p, statistics_tiles(p.shape),
              20.0 + (kMoveCost + lanes) * elements + 20.0 * runs);
  }
  emit_step(emit, merge_tile, p, ceil_div(p.shape.c, kChannelsATile),
            20.0 + channels * (10.0 + 2.0 * static_cast<double>(p.shape.chunks)));
  emit_step(emit, p.by_batch ? apply_tile<true> : apply_tile<false>, p,
            x.numel == 0 ? 0 : apply_tiles(p.shape), 20.0 + (1.5 * kMoveCost + lanes) * elements);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
