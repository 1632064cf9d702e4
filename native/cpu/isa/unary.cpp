// out[i] = f(x[i]) and the gradients dx[i] = f'(x[i] or y[i]) dy[i] of every UNARY of
// elementwise.def.
#include "cpu/isa/kernels.h"
#include "cpu/isa/map.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

enum Saved { kNone, kX, kY };

#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED)                    \
  void name##_row(const float* in, const float*, float* out, int64_t n, const float* params) { \
    [[maybe_unused]] const Vec a = set1(params[0]), b = set1(params[1]);                       \
    map(in, out, n, [=](Vec x) { return forward; });                                           \
  }                                                                                            \
  void name##_grad_row(const float* in, const float* saved, float* out, int64_t n,             \
                       const float* params) {                                                  \
    [[maybe_unused]] const Vec a = set1(params[0]), b = set1(params[1]);                       \
    map(in, SAVED == kNone ? in : saved, out, n, [=](Vec dy, Vec value) {                      \
      [[maybe_unused]] const Vec x = value, y = value;                                         \
      return derivative;                                                                       \
    });                                                                                        \
  }
#include "core/elementwise.def"

struct Params {
  RowFn row;
  int64_t n;
  float attributes[2];
};

// Operands: input, then output; for a gradient dy, what the forward op kept (if anything), output.
template <bool saved>
void tile_fn(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const Params& p = *static_cast<const Params*>(params);
  const int64_t begin = tile * kMapTile;
  const float* kept = saved ? static_cast<const float*>(operands[1]) + begin : nullptr;
  p.row(static_cast<const float*>(operands[0]) + begin, kept,
        static_cast<float*>(operands[saved ? 2 : 1]) + begin, least(kMapTile, p.n - begin),
        p.attributes);
}

void launch(const NodeView& node, Emitter& emit, RowFn row, bool saved, double cost) {
  const auto& attributes = *static_cast<const ElementwiseAttributes*>(node.attributes);
  const Params params = {row, node.outputs[0]->numel, {attributes.a, attributes.b}};
  if (params.n == 0) return;
  emit.step(saved ? tile_fn<true> : tile_fn<false>, &params, sizeof(params), tiles_of(params.n),
            cost * static_cast<double>(params.n));
}

const RowFn kRows[] = {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) \
  name##_row, name##_grad_row,
#include "core/elementwise.def"
};

}  // namespace

#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED)    \
  void launch_##name(const NodeView& node, Emitter& emit) {                    \
    launch(node, emit, name##_row, false, cost_of(#forward));                  \
  }                                                                            \
  void launch_##name##Grad(const NodeView& node, Emitter& emit) {              \
    launch(node, emit, name##_grad_row, SAVED != kNone, cost_of(#derivative)); \
  }
#include "core/elementwise.def"

RowFn row_function(Op op) {
  const auto index = static_cast<size_t>(op);  // unary ops and their gradients come first
  return index < sizeof(kRows) / sizeof(kRows[0]) ? kRows[index] : nullptr;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
