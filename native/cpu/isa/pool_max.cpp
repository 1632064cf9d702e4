// maxPool2d with the places of the maxima, and its gradient. A tile owns whole planes, so that the
// sums of windows that overlap have one order.
#include "cpu/isa/pool_max.h"

#include "cpu/isa/kernels.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct MaxParams {
  MaxPooling pooling;
  bool save_indices;
};

/// The largest elements of some windows so far, and where they are in their plane.
struct Largest {
  Vec value;
  IVec at;
};

/// Windows of one row of output from `q` on. Without padding all of them lie within the plane.
template <bool padded>
TANDEM_INLINE Largest search(const MaxPooling& p, const float* plane, int64_t top, int64_t q) {
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

template <bool padded>
void max_of_windows(const MaxPooling& p, const float* x, float* y, int32_t* at) {
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

/// Numbers 2 l of two vectors in lane l of one, and numbers 2 l + 1 in that of the other.
struct EvenOdd {
  Vec even, odd;
};

TANDEM_INLINE EvenOdd apart(Vec low, Vec high) {
#if defined(TANDEM_ISA_AVX512)
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  return {{_mm512_permutex2var_ps(low.v, even, high.v)},
          {_mm512_permutex2var_ps(low.v, odd, high.v)}};
#elif defined(TANDEM_ISA_AVX2)
  // Shuffles stay within halves, whose middle parts change places afterwards.
  const auto ordered = [](__m256 mixed) {
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xd8));
  };
  return {{ordered(_mm256_shuffle_ps(low.v, high.v, 0x88))},
          {ordered(_mm256_shuffle_ps(low.v, high.v, 0xdd))}};
#else
  return {low, high};
#endif
}

/// The way back: the first kWidth numbers in `even`, the others in `odd`.
TANDEM_INLINE EvenOdd together(Vec even, Vec odd) {
#if defined(TANDEM_ISA_AVX512)
  const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
  return {{_mm512_permutex2var_ps(even.v, first, odd.v)},
          {_mm512_permutex2var_ps(even.v, second, odd.v)}};
#elif defined(TANDEM_ISA_AVX2)
  const __m256 low = _mm256_unpacklo_ps(even.v, odd.v), high = _mm256_unpackhi_ps(even.v, odd.v);
  return {{_mm256_permute2f128_ps(low, high, 0x20)}, {_mm256_permute2f128_ps(low, high, 0x31)}};
#else
  return {even, odd};
#endif
}

/// `count` pairs from p on.
TANDEM_INLINE EvenOdd load_pairs(const float* p, int64_t count) {
  return apart(load_partial(p, 2 * count),
               2 * count > kWidth ? load_partial(p + kWidth, 2 * count - kWidth) : zero());
}
TANDEM_INLINE void store_pairs(float* p, Vec even, Vec odd, int64_t count) {
  const EvenOdd all = together(even, odd);
  store_partial(p, all.even, 2 * count);
  if (2 * count > kWidth) store_partial(p + kWidth, all.odd, 2 * count - kWidth);
}

/// Places of the first elements of the windows from row 2 r and column 2 q on.
TANDEM_INLINE IVec corners(const MaxPooling& p, int64_t r, int64_t q) {
  return iset1(static_cast<int32_t>(2 * (r * p.columns + q))) + lane_numbers() + lane_numbers();
}

void max_of_pairs(const MaxPooling& p, const float* x, float* y, int32_t* at) {
  const IVec one = iset1(1), row = iset1(static_cast<int32_t>(p.columns));
  for (int64_t r = 0; r < p.out_rows; ++r, x += 2 * p.columns) {
    for (int64_t q = 0; q < p.out_columns; q += kWidth) {
      const int64_t count = least(kWidth, p.out_columns - q), to = r * p.out_columns + q;
      const EvenOdd above = load_pairs(x + 2 * q, count);
      const EvenOdd below = load_pairs(x + p.columns + 2 * q, count);
      const IVec corner = corners(p, r, q);
      Largest best = {above.even, corner};
      const auto meet = [&best](Vec other, IVec place) {
        const Mask better = (other > best.value) | is_nan(other);
        best.value = select(better, other, best.value);
        best.at = select(better, place, best.at);
      };
      meet(above.odd, corner + one);
      meet(below.even, corner + row);
      meet(below.odd, corner + row + one);
      store_partial(y + to, best.value, count);
      if (at != nullptr) istore_partial(at + to, best.at, count);
    }
  }
}

void spread_pairs(const MaxPooling& p, const float* dy, const int32_t* at, float* dx) {
  const IVec one = iset1(1), row = iset1(static_cast<int32_t>(p.columns));
  const int64_t columns = 2 * p.out_columns;
  for (int64_t r = 0; r < p.out_rows; ++r) {
    float* const above = dx + 2 * r * p.columns;
    float* const below = above + p.columns;
    for (int64_t q = 0; q < p.out_columns; q += kWidth) {
      const int64_t count = least(kWidth, p.out_columns - q), from = r * p.out_columns + q;
      const Vec value = load_partial(dy + from, count);
      const IVec place = iload_partial(at + from, count), corner = corners(p, r, q);
      const auto of = [&](IVec where) { return select(place == where, value, zero()); };
      store_pairs(above + 2 * q, of(corner), of(corner + one), count);
      store_pairs(below + 2 * q, of(corner + row), of(corner + row + one), count);
    }
    if (columns < p.columns) above[columns] = below[columns] = 0.0F;
  }
  const int64_t rows = 2 * p.out_rows;
  for (int64_t i = rows * p.columns; i < p.rows * p.columns; ++i) dx[i] = 0.0F;
}

// Operands: x, y, places.
void max_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& [p, save_indices] = params_of<MaxParams>(params);
  const Range range = piece(tile, p.per_tile, p.planes);
  const int64_t pixels = p.out_rows * p.out_columns;
  for (int64_t plane = range.begin; plane < range.end; ++plane) {
    const float* x = static_cast<const float*>(operands[0]) + plane * p.rows * p.columns;
    float* y = static_cast<float*>(operands[1]) + plane * pixels;
    auto* at = save_indices ? static_cast<int32_t*>(operands[2]) + plane * pixels : nullptr;
    max_of_plane(p, x, y, at);
  }
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
        const auto largest = [&](int64_t at, int64_t n) {
          return max_(load_partial(top + at, n), load_partial(top + p.columns + at, n));
        };
        const int64_t second = 2 * count - kWidth;
        const EvenOdd pairs =
            apart(largest(2 * q, 2 * count), second > 0 ? largest(2 * q + kWidth, second) : zero());
        store_partial(y + q, max_(pairs.even, pairs.odd), count);
      }
    }
  }
}

// Operands: dy, places, dx.
void grad_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<MaxPooling>(params);
  const Range range = piece(tile, p.per_tile, p.planes);
  const int64_t pixels = p.out_rows * p.out_columns;
  for (int64_t plane = range.begin; plane < range.end; ++plane) {
    spread_plane(p, static_cast<const float*>(operands[0]) + plane * pixels,
                 static_cast<const int32_t*>(operands[1]) + plane * pixels,
                 static_cast<float*>(operands[2]) + plane * p.rows * p.columns);
  }
}

}  // namespace

MaxPooling max_pooling_of(const ops::PoolAttributes& attributes, const Tensor& x, const Tensor& y) {
  const Pooling pooling = pooling_of(attributes, x, y);
  const auto pairs = [](const WindowTaps& taps) {
    return taps.count == 2 && taps.stride == 2 && taps.first == 0;
  };
  return {pooling, pairs(pooling.row_taps) && pairs(pooling.column_taps)};
}

void max_of_plane(const MaxPooling& p, const float* x, float* y, int32_t* at) {
  const bool padded = p.row_taps.first < 0 || p.column_taps.first < 0;
  const auto find = p.pairs ? max_of_pairs : padded ? max_of_windows<true> : max_of_windows<false>;
  find(p, x, y, at);
}

void spread_plane(const MaxPooling& p, const float* dy, const int32_t* at, float* dx) {
  if (p.pairs) return spread_pairs(p, dy, at, dx);
  std::memset(dx, 0, static_cast<size_t>(p.rows * p.columns) * sizeof(float));
  for (int64_t i = 0; i < p.out_rows * p.out_columns; ++i) dx[at[i]] += dy[i];
}

void find_values(const MaxPooling& p, const float* x, const int32_t* at, float* values) {
  for (int64_t i = 0; i < p.out_rows * p.out_columns; ++i) values[i] = x[at[i]];
}

double max_cost(const MaxPooling& p) {
  const double vectors = static_cast<double>(p.planes * p.out_rows) *
                         static_cast<double>(ceil_div(p.out_columns, kWidth));
  return vectors * (4.0 + (p.pairs ? 1.0 : 2.0) * tap_count(p));
}

double spread_cost(const MaxPooling& p) {
  const auto planes = static_cast<double>(p.planes);
  const double each = p.pairs && kWidth > 1 ? 0.3 : 1.2;
  return planes * (0.1 * static_cast<double>(p.rows * p.columns) +
                   each * static_cast<double>(p.out_rows * p.out_columns));
}

void emit_pair_maxima(const PairMaxima& pairs, Emitter& emit) {
  PairParams p = {pairs, 0, pairs.rows / 2, pairs.columns / 2};
  p.per_tile = planes_per_tile(pairs.rows * pairs.columns, p.out_rows * p.out_columns);
  const double vectors = static_cast<double>(pairs.planes * p.out_rows) *
                         static_cast<double>(ceil_div(p.out_columns, kWidth));
  emit_step(emit, pairs_tile, p, ceil_div(pairs.planes, p.per_tile), vectors * 4.0);
}

void launch_maxPool2d(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::PoolAttributes>(node);
  const MaxParams p{max_pooling_of(attributes, *node.inputs[0], *node.outputs[0]),
                    attributes.save_indices};
  if (p.pooling.pairs && !p.save_indices) {
    emit_pair_maxima({p.pooling.planes, p.pooling.rows, p.pooling.columns, 0, node.input_count},
                     emit);
    return;
  }
  emit_step(emit, max_tile, p, ceil_div(p.pooling.planes, p.pooling.per_tile), max_cost(p.pooling));
}

void launch_maxPool2dGrad(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::PoolAttributes>(node);
  const MaxPooling p = max_pooling_of(attributes, *node.outputs[0], *node.inputs[0]);
  emit_step(emit, grad_tile, p, ceil_div(p.planes, p.per_tile), spread_cost(p));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
