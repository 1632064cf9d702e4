// softmax, logSoftmax and their gradients over one axis of [outer, axis, inner]. With inner == 1 a
// row lies in vectors; otherwise every lane is a row of its own. All may run in place: each pass
// over a row ends before the next begins, and the last one reads what it overwrites first.
#include "core/ops/softmax.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/softmax_row.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

enum class Form { kSoftmax, kLogSoftmax, kSoftmaxGrad, kLogSoftmaxGrad };

constexpr bool is_grad(Form form) {
  return form == Form::kSoftmaxGrad || form == Form::kLogSoftmaxGrad;
}

constexpr int64_t kTile = 8192;  // elements, about
constexpr int64_t kStrip = 64;   // columns
constexpr int64_t kLevel = 64;   // additions in a lane before its sum is put away

struct SoftmaxParams {
  int64_t outer, axis, inner;
  int64_t per_tile;  // rows, or strips of columns
};

// ---- rows --------------------------------------------------------------------------------------

template <Form form>
void row_forward(const float* x, float* y, int64_t n) {
  const float largest = row_max(x, n);
  const double sum = row_exp<form == Form::kSoftmax>(x, y, n, largest);
  if constexpr (form == Form::kSoftmax) {
    const Vec factor = set1(static_cast<float>(1.0 / sum));
    int64_t i = 0;
    for (; i + kWidth <= n; i += kWidth) store(y + i, load(y + i) * factor);
    if (i < n) store_partial(y + i, load_partial(y + i, n - i) * factor, n - i);
  } else {
    const Vec shift = set1(largest);
    const Vec log_sum = set1(__builtin_logf(static_cast<float>(sum)));
    int64_t i = 0;
    for (; i + kWidth <= n; i += kWidth) store(y + i, load(x + i) - shift - log_sum);
    if (i < n) store_partial(y + i, load_partial(x + i, n - i) - shift - log_sum, n - i);
  }
}

template <Form form>
void row_grad(const float* dy, const float* y, float* dx, int64_t n) {
  double sum = 0.0;
  for (int64_t i = 0; i < n;) {
    const int64_t end = least(i + kRowBlock, n);
    Vec a = zero();
    const auto take = [&](Vec d, Vec v) { a = form == Form::kSoftmaxGrad ? fma(d, v, a) : a + d; };
    for (; i + kWidth <= end; i += kWidth) take(load(dy + i), load(y + i));
    if (i < end) take(load_partial(dy + i, end - i), load_partial(y + i, end - i));
    i = end;
    sum += static_cast<double>(reduce_add(a));
  }
  const Vec s = set1(static_cast<float>(sum));
  const auto give = [&](Vec d, Vec v) {
    return form == Form::kSoftmaxGrad ? v * (d - s) : d - exp_(v) * s;
  };
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) store(dx + i, give(load(dy + i), load(y + i)));
  if (i < n)
    store_partial(dx + i, give(load_partial(dy + i, n - i), load_partial(y + i, n - i)), n - i);
}

template <Form form>
void rows_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<SoftmaxParams>(params);
  const Range range = piece(tile, p.per_tile, p.outer);
  for (int64_t row = range.begin; row < range.end; ++row) {
    const int64_t at = row * p.axis;
    const float* a = static_cast<const float*>(operands[0]) + at;
    if constexpr (is_grad(form)) {
      row_grad<form>(a, static_cast<const float*>(operands[1]) + at,
                     static_cast<float*>(operands[2]) + at, p.axis);
    } else {
      row_forward<form>(a, static_cast<float*>(operands[1]) + at, p.axis);
    }
  }
}

// ---- columns -----------------------------------------------------------------------------------

/// `vectors` vectors of columns side by side; a single one may have `n` < kWidth columns.
template <int vectors>
struct Columns {
  int64_t axis, stride, n;
};

/// Calls visit(i, k, offset) for vector k of every position i along the axis.
template <int vectors, typename Visit>
TANDEM_INLINE void each(const Columns<vectors>& columns, Visit visit) {
  for (int64_t i = 0; i < columns.axis; ++i) {
    for (int k = 0; k < vectors; ++k) visit(i, k, i * columns.stride + k * kWidth);
  }
}

template <int vectors>
TANDEM_INLINE Vec get(const Columns<vectors>& columns, const float* p) {
  return vectors == 1 ? load_partial(p, columns.n) : load(p);
}

template <int vectors>
TANDEM_INLINE void put(const Columns<vectors>& columns, float* p, Vec x) {
  if (vectors == 1) {
    store_partial(p, x, columns.n);
  } else {
    store(p, x);
  }
}

/// Sums along the axis, lane by lane: in two levels, to lose little.
template <int vectors>
struct LaneSums {
  Vec level[vectors];
  Vec total[vectors];
};

template <int vectors>
TANDEM_INLINE LaneSums<vectors> lane_sums() {
  LaneSums<vectors> sums;
  for (int k = 0; k < vectors; ++k) sums.level[k] = sums.total[k] = zero();
  return sums;
}

template <int vectors>
TANDEM_INLINE void accumulate(LaneSums<vectors>& sums, int64_t i, int k, Vec x) {
  sums.level[k] += x;
  if (i % kLevel == kLevel - 1) {
    sums.total[k] += sums.level[k];
    sums.level[k] = zero();
  }
}

template <Form form, int vectors>
void columns_forward(const Columns<vectors>& columns, const float* x, float* y) {
  Vec largest[vectors];
  for (int k = 0; k < vectors; ++k) largest[k] = set1(-__builtin_huge_valf());
  each(columns,
       [&](int64_t, int k, int64_t at) { largest[k] = max_(largest[k], get(columns, x + at)); });
  auto sums = lane_sums<vectors>();
  each(columns, [&](int64_t i, int k, int64_t at) {
    const Vec e = exp_(get(columns, x + at) - largest[k]);
    if (form == Form::kSoftmax) put(columns, y + at, e);
    accumulate(sums, i, k, e);
  });
  Vec last[vectors];  // what the last pass multiplies by or subtracts
  for (int k = 0; k < vectors; ++k) {
    const Vec sum = sums.total[k] + sums.level[k];
    last[k] = form == Form::kSoftmax ? set1(1.0F) / sum : log_(sum);
  }
  each(columns, [&](int64_t, int k, int64_t at) {
    put(columns, y + at,
        form == Form::kSoftmax ? get(columns, y + at) * last[k]
                               : get(columns, x + at) - largest[k] - last[k]);
  });
}

template <Form form, int vectors>
void columns_grad(const Columns<vectors>& columns, const float* dy, const float* y, float* dx) {
  auto sums = lane_sums<vectors>();
  each(columns, [&](int64_t i, int k, int64_t at) {
    const Vec d = get(columns, dy + at);
    accumulate(sums, i, k, form == Form::kSoftmaxGrad ? d * get(columns, y + at) : d);
  });
  for (int k = 0; k < vectors; ++k) sums.total[k] += sums.level[k];
  each(columns, [&](int64_t, int k, int64_t at) {
    const Vec d = get(columns, dy + at);
    const Vec v = get(columns, y + at);
    put(columns, dx + at,
        form == Form::kSoftmaxGrad ? v * (d - sums.total[k]) : d - exp_(v) * sums.total[k]);
  });
}

template <Form form, int vectors>
TANDEM_INLINE void columns_at(const Columns<vectors>& columns, void* const* operands, int64_t at) {
  const float* a = static_cast<const float*>(operands[0]) + at;
  if constexpr (is_grad(form)) {
    columns_grad<form>(columns, a, static_cast<const float*>(operands[1]) + at,
                       static_cast<float*>(operands[2]) + at);
  } else {
    columns_forward<form>(columns, a, static_cast<float*>(operands[1]) + at);
  }
}

template <Form form>
void columns_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<SoftmaxParams>(params);
  const int64_t strips = ceil_div(p.inner, kStrip);
  const Range range = piece(tile, p.per_tile, p.outer * strips);
  for (int64_t unit = range.begin; unit < range.end; ++unit) {
    const int64_t base = unit / strips * p.axis * p.inner;
    const Range columns = piece(unit % strips, kStrip, p.inner);
    int64_t c0 = columns.begin;
    for (; c0 + 4 * kWidth <= columns.end; c0 += 4 * kWidth) {
      columns_at<form>(Columns<4>{p.axis, p.inner, 4 * kWidth}, operands, base + c0);
    }
    for (; c0 < columns.end; c0 += kWidth) {
      columns_at<form>(Columns<1>{p.axis, p.inner, least(columns.end - c0, kWidth)}, operands,
                       base + c0);
    }
  }
}

// ---- launching ---------------------------------------------------------------------------------

template <Form form>
void launch(const NodeView& node, Emitter& emit) {
  const Tensor& x = *node.inputs[0];
  if (x.numel == 0) return;
  SoftmaxParams p{};
  const int64_t axis = attributes_of<ops::SoftmaxAttributes>(node).axis;
  p.axis = x.dims[axis];
  p.inner = stride_of(x, axis);
  p.outer = x.numel / (p.axis * p.inner);
  const int64_t units = p.inner == 1 ? p.outer : p.outer * ceil_div(p.inner, kStrip);
  p.per_tile = ceil_div(kTile, p.axis * least(p.inner, kStrip));
  const double per_element = kWidth == 1 ? 12.0 : 0.5;
  const double cost =
      20.0 + per_element * static_cast<double>(x.numel) + 20.0 * static_cast<double>(units);
  emit_step(emit, p.inner == 1 ? rows_tile<form> : columns_tile<form>, p,
            ceil_div(units, p.per_tile), cost);
}

}  // namespace

void launch_softmax(const NodeView& node, Emitter& emit) { launch<Form::kSoftmax>(node, emit); }
void launch_logSoftmax(const NodeView& node, Emitter& emit) {
  launch<Form::kLogSoftmax>(node, emit);
}
void launch_softmaxGrad(const NodeView& node, Emitter& emit) {
  launch<Form::kSoftmaxGrad>(node, emit);
}
void launch_logSoftmaxGrad(const NodeView& node, Emitter& emit) {
  launch<Form::kLogSoftmaxGrad>(node, emit);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
