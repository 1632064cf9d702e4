// The pointwise losses of elementwise.def: the mean of value(x, t) over all elements, and its
// gradients dx[i] = dy / n * gradient(x[i], t[i]).
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

template <typename F>
TANDEM_INLINE double sum(const float* px, const float* pt, int64_t n, F f) {
  DoubleSum s = double_zero();
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) add(s, f(load(px + i), load(pt + i)));
  if (i < n)
    add(s, keep_first(f(load_partial(px + i, n - i), load_partial(pt + i, n - i)), n - i, zero()));
  return total(s);
}

#define LOSS(name, A, a_default, value, gradient_x, gradient_t)                                \
  double name##_sum(const float* px, const float* pt, int64_t n, float attribute) {            \
    [[maybe_unused]] const Vec a = set1(attribute);                                            \
    return sum(px, pt, n, [=](Vec x, Vec t) { return value; });                                \
  }                                                                                            \
  void name##_grad(const float* px, const float* pt, float* out, int64_t n, float attribute,   \
                   float factor) {                                                             \
    [[maybe_unused]] const Vec a = set1(attribute);                                            \
    const Vec scale = set1(factor);                                                            \
    map(px, pt, out, n,                                                                        \
        [=]([[maybe_unused]] Vec x, [[maybe_unused]] Vec t) { return scale * (gradient_x); }); \
  }                                                                                            \
  void name##_grad_target(const float* px, const float* pt, float* out, int64_t n,             \
                          float attribute, float factor) {                                     \
    [[maybe_unused]] const Vec a = set1(attribute);                                            \
    const Vec scale = set1(factor);                                                            \
    map(px, pt, out, n,                                                                        \
        [=]([[maybe_unused]] Vec x, [[maybe_unused]] Vec t) { return scale * (gradient_t); }); \
  }
#include "core/elementwise.def"

struct SumParams {
  SumFn sum;
  int64_t n;
  int32_t workspace;  ///< operand index of the tiles' sums
  float a;
};

// Operands: x, t, the loss, the tiles' sums.
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
  *static_cast<float*>(operands[2]) = static_cast<float>(all / static_cast<double>(p.n));
}

// A loss of one tile (or of nothing), in one step.
void small_tile(const void* params, void* const* operands, int64_t, const TileContext&) {
  const SumParams& p = *static_cast<const SumParams*>(params);
  const double all = p.sum(static_cast<const float*>(operands[0]),
                           static_cast<const float*>(operands[1]), p.n, p.a);
  *static_cast<float*>(operands[2]) = static_cast<float>(all / static_cast<double>(p.n));
}

void launch_mean(const NodeView& node, Emitter& emit, SumFn sum_fn, double cost) {
  SumParams params = {sum_fn, node.inputs[0]->numel, -1,
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
  float a;
};

// Operands: x, t, dy (one number), the gradient.
void grad_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const GradParams& p = *static_cast<const GradParams*>(params);
  const int64_t begin = tile * kMapTile;
  const float dy = *static_cast<const float*>(operands[2]);
  p.grad(static_cast<const float*>(operands[0]) + begin,
         static_cast<const float*>(operands[1]) + begin, static_cast<float*>(operands[3]) + begin,
         least(kMapTile, p.n - begin), p.a,
         static_cast<float>(static_cast<double>(dy) / static_cast<double>(p.n)));
}

void launch_grad(const NodeView& node, Emitter& emit, GradFn grad, double cost) {
  const GradParams params = {grad, node.outputs[0]->numel,
                             static_cast<const ElementwiseAttributes*>(node.attributes)->a};
  if (params.n == 0) return;
  emit.step(grad_tile, &params, sizeof(params), tiles_of(params.n),
            cost * static_cast<double>(params.n));
}

}  // namespace

#define LOSS(name, A, a_default, value, gradient_x, gradient_t)         \
  void launch_##name(const NodeView& node, Emitter& emit) {             \
    launch_mean(node, emit, name##_sum, cost_of(#value));               \
  }                                                                     \
  void launch_##name##Grad(const NodeView& node, Emitter& emit) {       \
    launch_grad(node, emit, name##_grad, cost_of(#gradient_x));         \
  }                                                                     \
  void launch_##name##GradTarget(const NodeView& node, Emitter& emit) { \
    launch_grad(node, emit, name##_grad_target, cost_of(#gradient_t));  \
  }
#include "core/elementwise.def"

}  // namespace tandem::cpu::TANDEM_ISA_NS
