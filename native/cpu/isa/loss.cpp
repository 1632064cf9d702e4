// The pointwise losses of elementwise.def: the mean of value(x, t) over all elements, and its
// gradients dx[i] = dy / n * gradient(x[i], t[i]). With weights, each of which holds for `inner`
// neighbouring elements, sum w value / (inner D) for the divisor D; what has a weight of 0 does not
// count, not even as NaN.
//
// The order of the sum is fixed: a tile adds its elements in double precision lane by lane and then
// folds the lanes; a last step adds the tiles' sums in order. Of no elements the mean is NaN.
#include "cpu/isa/kernels.h"
#include "cpu/isa/map.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

using SumFn = double (*)(const float* x, const float* t, int64_t n, float a);
using GradFn = void (*)(const float* x, const float* t, float* out, int64_t n, float a,
                        float scale);
using WeightedSumFn = double (*)(const float* x, const float* t, const float* w, int64_t n,
                                 float a);
using WeightedGradFn = void (*)(const float* x, const float* t, const float* w, float* out,
                                int64_t n, float a, float scale);

template <typename F>
TANDEM_INLINE double sum(const float* px, const float* pt, int64_t n, F f) {
  DoubleSum s = double_zero();
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) add(s, f(load(px + i), load(pt + i)));
  if (i < n)
    add(s, keep_first(f(load_partial(px + i, n - i), load_partial(pt + i, n - i)), n - i, zero()));
  return total(s);
}

TANDEM_INLINE Vec weigh(Vec w, Vec v) { return select(w == zero(), zero(), w * v); }

template <typename F>
TANDEM_INLINE double weighted_sum(const float* px, const float* pt, const float* pw, int64_t n,
                                  F f) {
  DoubleSum s = double_zero();
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) add(s, weigh(load(pw + i), f(load(px + i), load(pt + i))));
  if (i < n) {
    const int64_t m = n - i;
    const Vec v = f(load_partial(px + i, m), load_partial(pt + i, m));
    add(s, keep_first(weigh(load_partial(pw + i, m), v), m, zero()));
  }
  return total(s);
}

template <typename F>
TANDEM_INLINE void weighted_map(const float* px, const float* pt, const float* pw, float* out,
                                int64_t n, F f) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth)
    store(out + i, weigh(load(pw + i), f(load(px + i), load(pt + i))));
  if (i < n) {
    const int64_t m = n - i;
    const Vec v = f(load_partial(px + i, m), load_partial(pt + i, m));
    store_partial(out + i, weigh(load_partial(pw + i, m), v), m);
  }
}

#define LOSS(name, A, a_default, value, gradient_x, gradient_t)                                   \
  double name##_sum(const float* px, const float* pt, int64_t n, float attribute) {               \
    [[maybe_unused]] const Vec a = set1(attribute);                                               \
    return sum(px, pt, n, [=](Vec x, Vec t) { return value; });                                   \
  }                                                                                               \
  void name##_grad(const float* px, const float* pt, float* out, int64_t n, float attribute,      \
                   float factor) {                                                                \
    [[maybe_unused]] const Vec a = set1(attribute);                                               \
    const Vec scale = set1(factor);                                                               \
    map(px, pt, out, n,                                                                           \
        [=]([[maybe_unused]] Vec x, [[maybe_unused]] Vec t) { return scale * (gradient_x); });    \
  }                                                                                               \
  void name##_grad_target(const float* px, const float* pt, float* out, int64_t n,                \
                          float attribute, float factor) {                                        \
    [[maybe_unused]] const Vec a = set1(attribute);                                               \
    const Vec scale = set1(factor);                                                               \
    map(px, pt, out, n,                                                                           \
        [=]([[maybe_unused]] Vec x, [[maybe_unused]] Vec t) { return scale * (gradient_t); });    \
  }                                                                                               \
  double name##_weighted_sum(const float* px, const float* pt, const float* pw, int64_t n,        \
                             float attribute) {                                                   \
    [[maybe_unused]] const Vec a = set1(attribute);                                               \
    return weighted_sum(px, pt, pw, n, [=](Vec x, Vec t) { return value; });                      \
  }                                                                                               \
  void name##_weighted_grad(const float* px, const float* pt, const float* pw, float* out,        \
                            int64_t n, float attribute, float factor) {                           \
    [[maybe_unused]] const Vec a = set1(attribute);                                               \
    const Vec scale = set1(factor);                                                               \
    weighted_map(px, pt, pw, out, n, [=]([[maybe_unused]] Vec x, [[maybe_unused]] Vec t) {        \
      return scale * (gradient_x);                                                                \
    });                                                                                           \
  }                                                                                               \
  void name##_weighted_grad_target(const float* px, const float* pt, const float* pw, float* out, \
                                   int64_t n, float attribute, float factor) {                    \
    [[maybe_unused]] const Vec a = set1(attribute);                                               \
    const Vec scale = set1(factor);                                                               \
    weighted_map(px, pt, pw, out, n, [=]([[maybe_unused]] Vec x, [[maybe_unused]] Vec t) {        \
      return scale * (gradient_t);                                                                \
    });                                                                                           \
  }
#include "core/elementwise.def"

struct SumParams {
  SumFn sum;
  int64_t n;
  int32_t out;        ///< operand index of the loss
  int32_t workspace;  ///< of the tiles' sums
  float a;
};

// Operands: x, t; the loss; the tiles' sums.
void sum_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const SumParams& p = *static_cast<const SumParams*>(params);
  const int64_t begin = tile * kMapTile;
  static_cast<double*>(operands[p.workspace])[tile] =
      p.sum(static_cast<const float*>(operands[0]) + begin,
            static_cast<const float*>(operands[1]) + begin, least(kMapTile, p.n - begin), p.a);
}

void mean_tile(const void* params, void* const* operands, int64_t, const TileContext&) {
  const SumParams& p = *static_cast<const SumParams*>(params);
  const double* sums = static_cast<const double*>(operands[p.workspace]);
  double all = 0;
  for (int64_t i = 0; i < tiles_of(p.n); ++i) all += sums[i];
  *static_cast<float*>(operands[p.out]) = static_cast<float>(all / static_cast<double>(p.n));
}

// A loss of one tile (or of nothing), in one step.
void small_tile(const void* params, void* const* operands, int64_t, const TileContext&) {
  const SumParams& p = *static_cast<const SumParams*>(params);
  const double all = p.sum(static_cast<const float*>(operands[0]),
                           static_cast<const float*>(operands[1]), p.n, p.a);
  *static_cast<float*>(operands[p.out]) = static_cast<float>(all / static_cast<double>(p.n));
}

void launch_mean(const NodeView& node, Emitter& emit, SumFn sum_fn, double cost) {
  SumParams params = {sum_fn, node.inputs[0]->numel, node.input_count, -1,
                      static_cast<const ElementwiseAttributes*>(node.attributes)->a};
  const int64_t tiles = tiles_of(params.n);
  if (tiles <= 1) {
    emit.step(small_tile, &params, sizeof(params), 1, cost * static_cast<double>(params.n));
    return;
  }
  params.workspace = emit.workspace(tiles * static_cast<int64_t>(sizeof(double)));
  emit.step(sum_tile, &params, sizeof(params), tiles, cost * static_cast<double>(params.n));
  emit.step(mean_tile, &params, sizeof(params), 1, static_cast<double>(tiles));
}

struct GradParams {
  GradFn grad;
  int64_t n;
  int32_t out;  ///< operand index of the gradient
  float a;
};

// Operands: x, t, dy (one number); the gradient.
void grad_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const GradParams& p = *static_cast<const GradParams*>(params);
  const int64_t begin = tile * kMapTile;
  const float dy = *static_cast<const float*>(operands[2]);
  p.grad(static_cast<const float*>(operands[0]) + begin,
         static_cast<const float*>(operands[1]) + begin,
         static_cast<float*>(operands[p.out]) + begin, least(kMapTile, p.n - begin), p.a,
         static_cast<float>(static_cast<double>(dy) / static_cast<double>(p.n)));
}

// ---- with weights ------------------------------------------------------------------------------

constexpr int64_t kChunk = 512;  // elements whose weights are written out

/// Calls visit(at, w, m) for pieces of the elements [begin, end), of m elements from `at` on with
/// weights w; each weight holds for `inner` elements.
template <typename Visit>
TANDEM_INLINE void each_piece(const float* weights, int64_t inner, int64_t begin, int64_t end,
                              Visit visit) {
  if (inner == 1) {
    visit(begin, weights + begin, end - begin);
    return;
  }
  float written[kChunk];
  int64_t of = begin / inner;
  int64_t next = (of + 1) * inner;
  for (int64_t at = begin; at < end; at += kChunk) {
    const int64_t m = least(kChunk, end - at);
    for (int64_t i = 0; i < m;) {
      const int64_t stop = least(m, next - at);
      for (; i < stop; ++i) written[i] = weights[of];
      if (i < m) {
        ++of;
        next += inner;
      }
    }
    visit(at, written, m);
  }
}

struct WeightedParams {
  WeightedSumFn sum;    // of the loss
  WeightedGradFn grad;  // of a gradient
  int64_t n, inner;
  int32_t weights, divisor, out;  // operands
  int32_t partial;                // operand: the tiles' sums
  float a;
};

/// What the weighted sum is divided by; 0 where nothing counts.
double weighted_divisor(const WeightedParams& p, void* const* operands) {
  const auto divisor = static_cast<double>(*static_cast<const float*>(operands[p.divisor]));
  return divisor * static_cast<double>(p.inner);
}

// Operands: x, t, weights, divisor; the loss; the tiles' sums.
void weighted_sum_tile(const void* params, void* const* operands, int64_t tile,
                       const TileContext&) {
  const WeightedParams& p = *static_cast<const WeightedParams*>(params);
  const auto* x = static_cast<const float*>(operands[0]);
  const auto* t = static_cast<const float*>(operands[1]);
  const int64_t begin = tile * kMapTile;
  double all = 0;
  each_piece(
      static_cast<const float*>(operands[p.weights]), p.inner, begin, least(begin + kMapTile, p.n),
      [&](int64_t at, const float* w, int64_t m) { all += p.sum(x + at, t + at, w, m, p.a); });
  static_cast<double*>(operands[p.partial])[tile] = all;
}

void weighted_mean_tile(const void* params, void* const* operands, int64_t, const TileContext&) {
  const WeightedParams& p = *static_cast<const WeightedParams*>(params);
  const double* sums = static_cast<const double*>(operands[p.partial]);
  double all = 0;
  for (int64_t i = 0; i < tiles_of(p.n); ++i) all += sums[i];
  const double divisor = weighted_divisor(p, operands);
  *static_cast<float*>(operands[p.out]) = divisor == 0.0 ? 0.0F : static_cast<float>(all / divisor);
}

// Operands: x, t, dy (one number), weights, divisor; the gradient.
void weighted_grad_tile(const void* params, void* const* operands, int64_t tile,
                        const TileContext&) {
  const WeightedParams& p = *static_cast<const WeightedParams*>(params);
  const auto* x = static_cast<const float*>(operands[0]);
  const auto* t = static_cast<const float*>(operands[1]);
  auto* out = static_cast<float*>(operands[p.out]);
  const auto dy = static_cast<double>(*static_cast<const float*>(operands[2]));
  const double divisor = weighted_divisor(p, operands);
  const float scale = divisor == 0.0 ? 0.0F : static_cast<float>(dy / divisor);
  const int64_t begin = tile * kMapTile;
  each_piece(static_cast<const float*>(operands[p.weights]), p.inner, begin,
             least(begin + kMapTile, p.n), [&](int64_t at, const float* w, int64_t m) {
               p.grad(x + at, t + at, w, out + at, m, p.a, scale);
             });
}

bool has_weights(const NodeView& node, int32_t i) {
  return node.input_count > i && node.inputs[i] != nullptr;
}

WeightedParams weighted_params(const NodeView& node, int32_t weights) {
  WeightedParams p{};
  p.n = node.inputs[0]->numel;
  const int64_t count = node.inputs[weights]->numel;
  p.inner = count == 0 ? 1 : p.n / count;
  p.weights = weights;
  p.divisor = weights + 1;
  p.out = node.input_count;
  p.partial = -1;
  p.a = static_cast<const ElementwiseAttributes*>(node.attributes)->a;
  return p;
}

void launch_weighted_mean(const NodeView& node, Emitter& emit, WeightedSumFn sum_fn, double cost) {
  WeightedParams p = weighted_params(node, 2);
  p.sum = sum_fn;
  const int64_t tiles = tiles_of(p.n);
  p.partial = emit.workspace((tiles > 0 ? tiles : 1) * static_cast<int64_t>(sizeof(double)));
  if (tiles > 0)
    emit.step(weighted_sum_tile, &p, sizeof(p), tiles, (cost + 0.2) * static_cast<double>(p.n));
  emit.step(weighted_mean_tile, &p, sizeof(p), 1, 10.0 + static_cast<double>(tiles));
}

void launch_weighted_grad(const NodeView& node, Emitter& emit, WeightedGradFn grad, double cost) {
  WeightedParams p = weighted_params(node, 3);
  p.grad = grad;
  if (p.n == 0) return;
  emit.step(weighted_grad_tile, &p, sizeof(p), tiles_of(p.n),
            (cost + 0.2) * static_cast<double>(p.n));
}

// ---- launching ---------------------------------------------------------------------------------

void launch_grad(const NodeView& node, Emitter& emit, GradFn grad, double cost) {
  const GradParams params = {grad, node.outputs[0]->numel, node.input_count,
                             static_cast<const ElementwiseAttributes*>(node.attributes)->a};
  if (params.n == 0) return;
  emit.step(grad_tile, &params, sizeof(params), tiles_of(params.n),
            cost * static_cast<double>(params.n));
}

}  // namespace

#define LOSS(name, A, a_default, value, gradient_x, gradient_t)                            \
  void launch_##name(const NodeView& node, Emitter& emit) {                                \
    if (has_weights(node, 2)) {                                                            \
      launch_weighted_mean(node, emit, name##_weighted_sum, cost_of(#value));              \
    } else {                                                                               \
      launch_mean(node, emit, name##_sum, cost_of(#value));                                \
    }                                                                                      \
  }                                                                                        \
  void launch_##name##Grad(const NodeView& node, Emitter& emit) {                          \
    if (has_weights(node, 3)) {                                                            \
      launch_weighted_grad(node, emit, name##_weighted_grad, cost_of(#gradient_x));        \
    } else {                                                                               \
      launch_grad(node, emit, name##_grad, cost_of(#gradient_x));                          \
    }                                                                                      \
  }                                                                                        \
  void launch_##name##GradTarget(const NodeView& node, Emitter& emit) {                    \
    if (has_weights(node, 3)) {                                                            \
      launch_weighted_grad(node, emit, name##_weighted_grad_target, cost_of(#gradient_t)); \
    } else {                                                                               \
      launch_grad(node, emit, name##_grad_target, cost_of(#gradient_t));                   \
    }                                                                                      \
  }
#include "core/elementwise.def"

}  // namespace tandem::cpu::TANDEM_ISA_NS
