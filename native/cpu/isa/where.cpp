// where: a or b by a condition, with NumPy's broadcasting. Elements are moved as they are, so that
// integers may pass for floats. Operands that are repeated are written
// out to this thread's scratch memory, a chunk at a time; the others are read in place.
#include "core/ops/where.h"

#include "cpu/isa/kernels.h"
#include "cpu/isa/rows.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int64_t kTile = 16384;  // elements
constexpr int64_t kChunk = 1024;

struct WhereParams {
  int64_t n;
  Walk walks[3];  // through the operands that are repeated
  bool repeated[3];
  bool integer;  // the condition's type
};

/// Elements [begin, begin + n) of an operand along its walk.
void expand(const Walk& walk, const uint32_t* from, int64_t begin, int64_t n, uint32_t* to) {
  const int32_t last = walk.rank - 1;
  const int64_t inner = last < 0 ? n : walk.dims[last];
  const int64_t stride = last < 0 ? 0 : walk.strides[last];
  Walk rows = walk;
  rows.rank = last < 0 ? 0 : last;
  Odometer row = odometer_at(rows, last < 0 ? 0 : begin / inner);
  int64_t skip = last < 0 ? 0 : begin % inner;
  for (int64_t i = 0; i < n;) {
    const int64_t count = least(inner - skip, n - i);
    const uint32_t* source = from + row.offset + skip * stride;
    if (stride == 0) {
      for (int64_t j = 0; j < count; ++j) to[i + j] = *source;
    } else {
      copy_words(to + i, source, count);
    }
    i += count;
    skip = 0;
    advance(rows, row);
  }
}

template <typename IsZero>
TANDEM_INLINE void choose(const float* a, const float* b, float* y, int64_t n, IsZero is_zero) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth)
    store(y + i, select(is_zero(i, kWidth), load(b + i), load(a + i)));
  if (i < n) {
    const int64_t left = n - i;
    const Vec chosen =
        select(is_zero(i, left), load_partial(b + i, left), load_partial(a + i, left));
    store_partial(y + i, chosen, left);
  }
}

void where_tile(const void* params, void* const* operands, int64_t tile,
                const TileContext& context) {
  const auto& p = params_of<WhereParams>(params);
  auto* y = static_cast<float*>(operands[3]);
  const Range range = piece(tile, kTile, p.n);
  for (int64_t at = range.begin; at < range.end; at += kChunk) {
    const int64_t n = least(kChunk, range.end - at);
    const uint32_t* source[3];
    for (int k = 0; k < 3; ++k) {
      const auto* whole = static_cast<const uint32_t*>(operands[k]);
      source[k] = whole + at;
      if (!p.repeated[k]) continue;
      uint32_t* copy = static_cast<uint32_t*>(context.scratch) + k * kChunk;
      expand(p.walks[k], whole, at, n, copy);
      source[k] = copy;
    }
    where_row(source[0], p.integer, static_cast<const float*>(static_cast<const void*>(source[1])),
              static_cast<const float*>(static_cast<const void*>(source[2])), y + at, n);
  }
}

Walk broadcast_walk(const Tensor& operand, const Tensor& out) {
  Walk walk{};
  const int32_t missing = out.rank - operand.rank;
  for (int32_t d = 0; d < out.rank; ++d) {
    const bool repeats = d < missing || operand.dims[d - missing] == 1;
    add_dim(walk, out.dims[d], repeats ? 0 : stride_of(operand, d - missing));
  }
  return walk;
}

}  // namespace

void where_row(const void* c, bool integer, const float* a, const float* b, float* y, int64_t n) {
  if (integer) {
    const auto* condition = static_cast<const int32_t*>(c);
    choose(a, b, y, n,
           [=](int64_t i, int64_t left) { return iload_partial(condition + i, left) == iset1(0); });
  } else {
    const auto* condition = static_cast<const float*>(c);
    choose(a, b, y, n,
           [=](int64_t i, int64_t left) { return load_partial(condition + i, left) == zero(); });
  }
}

void launch_where(const NodeView& node, Emitter& emit) {
  WhereParams p{};
  const Tensor& out = *node.outputs[0];
  p.n = out.numel;
  if (p.n == 0) return;
  p.integer = node.inputs[0]->dtype == DType::kInt32;
  double cost = 0.3;
  for (int k = 0; k < 3; ++k) {
    const Tensor& operand = *node.inputs[k];
    p.repeated[k] = operand.numel != p.n;
    if (!p.repeated[k]) continue;
    p.walks[k] = broadcast_walk(operand, out);
    const int32_t last = p.walks[k].rank - 1;
    cost += 0.15 + (last < 0 ? 0.0 : 6.0 / static_cast<double>(p.walks[k].dims[last]));
  }
  emit.scratch(3 * kChunk * static_cast<int64_t>(sizeof(float)));
  emit_step(emit, where_tile, p, ceil_div(p.n, kTile), 20.0 + cost * static_cast<double>(p.n));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
