// cachedAttention: a step writes the keys and values of all rows, then a tile is one head of one
// row. The scores of its entries stand in scratch, for a row reads each key and value once.
#include "core/ops/cached_attention.h"

#include "cpu/isa/kernels.h"
#include "cpu/isa/softmax_row.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct CachedParams {
  int64_t heads, depth, slots, length;
  float scale;
};

enum : int { kQkv, kCache, kSlot, kPosition, kY };

/// Where the entries of a row's slot begin, or null where its own is not in the cache.
float* slot_of(const CachedParams& p, void* const* operands, int64_t row) {
  const int64_t slot = static_cast<const int32_t*>(operands[kSlot])[row];
  const int64_t position = static_cast<const int32_t*>(operands[kPosition])[row];
  if (slot < 0 || slot >= p.slots || position < 0 || position >= p.length) return nullptr;
  return static_cast<float*>(operands[kCache]) + slot * p.length * 2 * p.heads * p.depth;
}

void append_tile(const void* params, void* const* operands, int64_t tile,
                 const TileContext& /*context*/) {
  const auto& p = params_of<CachedParams>(params);
  const int64_t width = p.heads * p.depth;
  float* const slot = slot_of(p, operands, tile);
  if (slot == nullptr) return;
  const int64_t position = static_cast<const int32_t*>(operands[kPosition])[tile];
  const float* from = static_cast<const float*>(operands[kQkv]) + (tile * 3 + 1) * width;
  for (int64_t part = 0; part < 2; ++part) {  // keys, values
    for (int64_t head = 0; head < p.heads; ++head) {
      float* const to = slot + ((head * 2 + part) * p.length + position) * p.depth;
      std::memcpy(to, from + part * width + head * p.depth,
                  static_cast<size_t>(p.depth) * sizeof(float));
    }
  }
}

/// Keys and values come from the L2 at best, and each is read once: what comes next is on its way.
constexpr int64_t kAhead = 1024;  // floats

/// The numbers of a vector; where not `full`, of a row's last one, which may end early.
template <bool full>
TANDEM_INLINE Vec load_column(const float* p, int64_t n) {
  return full ? load(p) : load_partial(p, n);
}

/// scores[j] = scale * q . keys[j], four keys at a time.
template <bool full>
void score(const float* q, const float* keys, int64_t count, int64_t depth, float scale,
           float* scores) {
  int64_t j = 0;
  for (; j + 4 <= count; j += 4) {
    const float* k = keys + j * depth;
    Vec sum[4] = {zero(), zero(), zero(), zero()};
    for (int64_t i = 0; i < depth; i += kWidth) {
      const Vec x = load_column<full>(q + i, depth - i);
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) {
        __builtin_prefetch(k + r * depth + i + kAhead);
        sum[r] = fma(x, load_column<full>(k + r * depth + i, depth - i), sum[r]);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) scores[j + r] = scale * reduce_add(sum[r]);
  }
  for (; j < count; ++j) {
    Vec sum = zero();
    for (int64_t i = 0; i < depth; i += kWidth) {
      const Vec k = load_column<full>(keys + j * depth + i, depth - i);
      sum = fma(load_column<full>(q + i, depth - i), k, sum);
    }
    scores[j] = scale * reduce_add(sum);
  }
}

/// C columns of vectors of y = factor * sum of weights[j] * values[j]; `n` numbers. Two sums
/// shorten the chain of additions.
template <bool full, int C>
void weigh_columns(const float* weights, const float* values, int64_t count, int64_t depth,
                   int64_t n, float factor, float* y) {
  Vec even[C];
  Vec odd[C];
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) even[c] = odd[c] = zero();
  int64_t j = 0;
  for (; j + 2 <= count; j += 2) {
    const float* v = values + j * depth;
    const Vec first = set1(weights[j]);
    const Vec second = set1(weights[j + 1]);
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      const int64_t at = c * kWidth;
      __builtin_prefetch(v + at + kAhead);
      __builtin_prefetch(v + depth + at + kAhead);
      even[c] = fma(first, load_column<full>(v + at, n - at), even[c]);
      odd[c] = fma(second, load_column<full>(v + depth + at, n - at), odd[c]);
    }
  }
  const Vec f = set1(factor);
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) {
    const int64_t at = c * kWidth;
    if (j < count)
      even[c] = fma(set1(weights[j]), load_column<full>(values + j * depth + at, n - at), even[c]);
    store_partial(y + at, f * (even[c] + odd[c]), n - at);
  }
}

template <bool full>
void weigh(const float* weights, const float* values, int64_t count, int64_t depth, float factor,
           float* y) {
  int64_t i = 0;
  for (; i + 4 * kWidth <= depth; i += 4 * kWidth)
    weigh_columns<full, 4>(weights, values + i, count, depth, depth - i, factor, y + i);
  for (; i + kWidth < depth; i += 2 * kWidth)
    weigh_columns<full, 2>(weights, values + i, count, depth, depth - i, factor, y + i);
  if (i < depth)
    weigh_columns<full, 1>(weights, values + i, count, depth, depth - i, factor, y + i);
}

template <bool full>
void attend(const CachedParams& p, const float* q, const float* keys, int64_t count, float* scores,
            float* y) {
  score<full>(q, keys, count, p.depth, p.scale, scores);
  const double total = row_exp<true>(scores, scores, count, row_max(scores, count));
  const float* const values = keys + p.length * p.depth;
  weigh<full>(scores, values, count, p.depth, static_cast<float>(1.0 / total), y);
}

void attend_tile(const void* params, void* const* operands, int64_t tile,
                 const TileContext& context) {
  const auto& p = params_of<CachedParams>(params);
  const int64_t row = tile / p.heads;
  const int64_t head = tile % p.heads;
  const int64_t width = p.heads * p.depth;
  float* const y = static_cast<float*>(operands[kY]) + row * width + head * p.depth;
  const float* const slot = slot_of(p, operands, row);
  if (slot == nullptr) {
    std::memset(y, 0, static_cast<size_t>(p.depth) * sizeof(float));
    return;
  }
  const int64_t count = int64_t{1} + static_cast<const int32_t*>(operands[kPosition])[row];
  auto* const scores = static_cast<float*>(context.scratch);
  const float* const q =
      static_cast<const float*>(operands[kQkv]) + row * 3 * width + head * p.depth;
  const float* const keys = slot + head * 2 * p.length * p.depth;
  if (p.depth % kWidth == 0) {
    attend<true>(p, q, keys, count, scores, y);
  } else {
    attend<false>(p, q, keys, count, scores, y);
  }
}

}  // namespace

void launch_cachedAttention(const NodeView& node, Emitter& emit) {
  const Tensor& qkv = *node.inputs[kQkv];
  const Tensor& cache = *node.inputs[kCache];
  const int64_t rows = qkv.dims[0];
  if (rows == 0) return;
  CachedParams p{};
  p.heads = attributes_of<ops::CachedAttention::Attributes>(node).heads;
  p.depth = qkv.dims[2] / 3 / p.heads;
  p.slots = cache.dims[0];
  p.length = cache.dims[1];
  p.scale = static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(p.depth)));
  const double numbers = static_cast<double>(rows) * static_cast<double>(p.heads * p.depth);
  emit_step(emit, append_tile, p, rows, 3 * kMoveCost * numbers);
  emit.scratch(p.length * static_cast<int64_t>(sizeof(float)));
  // how much of the cache is in use is not known here: half of it
  const double cost = 0.15 * numbers * static_cast<double>(p.length) / 2;
  emit_step(emit, attend_tile, p, rows * p.heads, cost);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
