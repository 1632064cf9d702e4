// maxPool2d with the places of the maxima, and its gradient. Of equal elements the first one of a
// window counts, a NaN always does, as in PyTorch. A tile owns whole planes, so that the sums of
// windows that overlap have one order.
#include "cpu/isa/kernels.h"
#include "cpu/isa/pool.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct MaxParams : Pooling {
  bool save_indices;
};

/// The largest elements of some windows so far, and where they are in their plane.
struct Largest {
  Vec value;
  IVec at;
};

/// Windows of one row of output from `q` on. Without padding all of them lie within the plane.
template <bool padded>
TANDEM_INLINE Largest search(const MaxParams& p, const float* plane, int64_t top, int64_t q) {
  const int64_t first_row = most(top, 0);
  const WindowTaps& columns = p.column_taps;
  const int64_t last_row = least(top + p.row_taps.count, p.rows);
  const auto stride = static_cast<int32_t>(columns.stride);
  const IVec left = iset1(static_cast<int32_t>(q * columns.stride + columns.first)) +
                    lane_numbers() * iset1(stride);
  const IVec inside = select(left > iset1(-1), left, iset1(0));
  Largest best = {set1(-__builtin_inff()),
                  inside + iset1(static_cast<int32_t>(first_row * p.columns))};
  const uint32_t all = lane_range(0, least(kWidth, p.out_columns - q));
  for (int64_t row = first_row; row < last_row; ++row) {
    for (int64_t j = 0; j < columns.count; ++j) {
      const uint32_t lanes = padded ? lanes_within(columns, j, p.columns, p.out_columns, q) : all;
      const int64_t at = row * p.columns + q * columns.stride + columns.first + j;
      const Vec x = load_vector(plane + at, lanes, columns.stride);
      const Mask better = mask_of_lanes(lanes) & ((x > best.value) | is_nan(x));
      best.value = select(better, x, best.value);
      best.at = select(better, left + iset1(static_cast<int32_t>(row * p.columns + j)), best.at);
    }
  }
  return best;
}

// Operands: x, y, places.
template <bool padded>
void max_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<MaxParams>(params);
  const Range range = piece(tile, p.per_tile, p.planes);
  const int64_t pixels = p.out_rows * p.out_columns;
  for (int64_t plane = range.begin; plane < range.end; ++plane) {
    const float* x = static_cast<const float*>(operands[0]) + plane * p.rows * p.columns;
    float* y = static_cast<float*>(operands[1]) + plane * pixels;
    auto* at = p.save_indices ? static_cast<int32_t*>(operands[2]) + plane * pixels : nullptr;
    int64_t top = p.row_taps.first;
    for (int64_t r = 0; r < p.out_rows; ++r, top += p.row_taps.stride) {
      for (int64_t q = 0; q < p.out_columns; q += kWidth) {
        const Largest best = search<padded>(p, x, top, q);
        const int64_t count = least(kWidth, p.out_columns - q);
        store_partial(y + r * p.out_columns + q, best.value, count);
        if (at != nullptr) istore_partial(at + r * p.out_columns + q, best.at, count);
      }
    }
  }
}

/// Lane l: the larger of numbers 2 l and 2 l + 1 of two vectors.
TANDEM_INLINE Vec larger_of_pairs(Vec low, Vec high) {
#if defined(TANDEM_ISA_AVX512)
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  return max_({_mm512_permutex2var_ps(low.v, even, high.v)},
              {_mm512_permutex2var_ps(low.v, odd, high.v)});
#elif defined(TANDEM_ISA_AVX2)
  // Shuffles stay within halves, whose middle parts change places afterwards.
  const Vec mixed =
      max_({_mm256_shuffle_ps(low.v, high.v, 0x88)}, {_mm256_shuffle_ps(low.v, high.v, 0xdd)});
  return {_mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed.v), 0xd8))};
#else
  return max_(low, high);
#endif
}

struct PairParams {
  PairMaxima pairs;
  int64_t per_tile, out_rows, out_columns;
};

// Windows of 2 x 2 side by side, which most networks have: no places, no padding.
void pairs_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& whole = params_of<PairParams>(params);
  const PairMaxima& p = whole.pairs;
  const Range range = piece(tile, whole.per_tile, p.planes);
  const auto* x = static_cast<const float*>(operands[p.from]) + range.begin * p.rows * p.columns;
  auto* y = static_cast<float*>(operands[p.to]) + range.begin * whole.out_rows * whole.out_columns;
  for (int64_t plane = range.begin; plane < range.end; ++plane, x += p.rows * p.columns) {
    const float* top = x;
    for (int64_t r = 0; r < whole.out_rows; ++r, top += 2 * p.columns, y += whole.out_columns) {
      for (int64_t q = 0; q < whole.out_columns; q += kWidth) {
        const int64_t count = least(kWidth, whole.out_columns - q);
        const int64_t low = least(kWidth, 2 * count), high = most(0, 2 * count - kWidth);
        const auto largest = [&](int64_t at, int64_t n) {
          return max_(load_partial(top + at, n), load_partial(top + p.columns + at, n));
        };
        const Vec second = high > 0 ? largest(2 * q + kWidth, high) : zero();
        store_partial(y + q, larger_of_pairs(largest(2 * q, low), second), count);
      }
    }
  }
}

bool is_pairs(const MaxParams& p) {
  const auto pairs = [](const WindowTaps& taps) {
    return taps.count == 2 && taps.stride == 2 && taps.first == 0;
  };
  return pairs(p.row_taps) && pairs(p.column_taps) && !p.save_indices;
}

struct GradParams {
  int64_t planes, per_tile, size, out_size;
};

// Operands: dy, places, dx.
void grad_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<GradParams>(params);
  const Range range = piece(tile, p.per_tile, p.planes);
  for (int64_t plane = range.begin; plane < range.end; ++plane) {
    const float* dy = static_cast<const float*>(operands[0]) + plane * p.out_size;
    const auto* at = static_cast<const int32_t*>(operands[1]) + plane * p.out_size;
    float* dx = static_cast<float*>(operands[2]) + plane * p.size;
    std::memset(dx, 0, static_cast<size_t>(p.size) * sizeof(float));
    for (int64_t i = 0; i < p.out_size; ++i) dx[at[i]] += dy[i];
  }
}

}  // namespace

void emit_pair_maxima(const PairMaxima& pairs, Emitter& emit) {
  PairParams p = {pairs, 0, pairs.rows / 2, pairs.columns / 2};
  p.per_tile = planes_per_tile(pairs.rows * pairs.columns, p.out_rows * p.out_columns);
  const double vectors = static_cast<double>(pairs.planes * p.out_rows) *
                         static_cast<double>(ceil_div(p.out_columns, kWidth));
  emit_step(emit, pairs_tile, p, ceil_div(pairs.planes, p.per_tile), vectors * 4.0);
}

void launch_maxPool2d(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::PoolAttributes>(node);
  const MaxParams p{pooling_of(attributes, *node.inputs[0], *node.outputs[0]),
                    attributes.save_indices};
  if (is_pairs(p)) {
    emit_pair_maxima({p.planes, p.rows, p.columns, 0, node.input_count}, emit);
    return;
  }
  const double vectors = static_cast<double>(p.planes * p.out_rows) *
                         static_cast<double>(ceil_div(p.out_columns, kWidth));
  const bool padded = p.row_taps.first < 0 || p.column_taps.first < 0;
  emit_step(emit, padded ? max_tile<true> : max_tile<false>, p, ceil_div(p.planes, p.per_tile),
            vectors * (4.0 + 2.0 * tap_count(p)));
}

void launch_maxPool2dGrad(const NodeView& node, Emitter& emit) {
  const Tensor& dy = *node.inputs[0];
  const Tensor& dx = *node.outputs[0];
  GradParams p = {};
  p.planes = dx.dims[0] * dx.dims[1];
  p.size = dx.dims[2] * dx.dims[3];
  p.out_size = dy.dims[2] * dy.dims[3];
  p.per_tile = planes_per_tile(p.size, p.out_size);
  emit_step(emit, grad_tile, p, ceil_div(p.planes, p.per_tile),
            0.1 * static_cast<double>(dx.numel) + 1.2 * static_cast<double>(dy.numel));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
