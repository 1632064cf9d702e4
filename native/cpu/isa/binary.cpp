// out = f(a, b) with NumPy's broadcasting, for every BINARY of elementwise.def.
//
// Neighbouring dimensions that both operands walk alike are merged, which leaves one dimension for
// operands of one shape, none to repeat for a scalar, two for a row vector or a column. Operands
// are contiguous, so along the innermost dimension each has stride 1 or 0 (repeats one element),
// and a row function covers it. Where that dimension is short, repeated operands are first written
// out in chunks to this thread's scratch memory.
#include "cpu/isa/kernels.h"
#include "cpu/isa/map.h"
#include "cpu/isa/rows.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

template <typename F>
TANDEM_INLINE void row(const float* pa, const float* pb, float* out, int64_t n, Repeat repeat,
                       F f) {
  if (repeat == Repeat::kNeither) {
    map(pa, pb, out, n, f);
  } else if (repeat == Repeat::kA) {
    const Vec a = set1(*pa);
    map(pb, out, n, [=](Vec b) { return f(a, b); });
  } else {
    const Vec b = set1(*pb);
    map(pa, out, n, [=](Vec a) { return f(a, b); });
  }
}

#define BINARY(name, forward, gradient_a, gradient_b)                                       \
  void name##_row(const float* pa, const float* pb, float* out, int64_t n, Repeat repeat) { \
    row(pa, pb, out, n, repeat, [](Vec a, Vec b) { return forward; });                      \
  }
#include "core/elementwise.def"

constexpr int64_t kShortRow = 64;
constexpr int64_t kChunk = 1024;
constexpr int64_t kScratch =
    kChunk + kWidth;  ///< whole vectors are written; the next row overwrites the rest

struct Params {
  BinaryRowFn row;
  int64_t n;               ///< elements of the output
  int32_t rank;            ///< of the merged dimensions, at least 1
  int32_t expand;          ///< rows are short: bit 0 write out a, bit 1 write out b
  int64_t dims[kMaxRank];  ///< outermost first
  int64_t strides[2][kMaxRank];
};

/// A place in the output, as coordinates, and the operands' offsets there.
struct Cursor {
  int64_t at[kMaxRank];
  int64_t offset[2];
};

Cursor cursor_at(const Params& p, int64_t element) {
  Cursor cursor{};
  for (int d = p.rank - 1; d >= 0; --d) {
    cursor.at[d] = element % p.dims[d];
    element /= p.dims[d];
    for (int k = 0; k < 2; ++k) cursor.offset[k] += cursor.at[d] * p.strides[k][d];
  }
  return cursor;
}

/// Moves on by `count` elements that end within or at the end of the current row.
TANDEM_INLINE void advance(const Params& p, Cursor& cursor, int64_t count) {
  int d = p.rank - 1;
  cursor.at[d] += count;
  for (int k = 0; k < 2; ++k) cursor.offset[k] += count * p.strides[k][d];
  while (cursor.at[d] == p.dims[d] && d > 0) {
    for (int k = 0; k < 2; ++k)
      cursor.offset[k] += p.strides[k][d - 1] - p.dims[d] * p.strides[k][d];
    cursor.at[d] = 0;
    ++cursor.at[--d];
  }
}

// Operands: a, b, output.
void row_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const Params& p = *static_cast<const Params*>(params);
  const float* a = static_cast<const float*>(operands[0]);
  const float* b = static_cast<const float*>(operands[1]);
  float* out = static_cast<float*>(operands[2]);
  const int inner = p.rank - 1;
  const Repeat repeat = p.strides[0][inner] == 0   ? Repeat::kA
                        : p.strides[1][inner] == 0 ? Repeat::kB
                                                   : Repeat::kNeither;
  const int64_t end = least(p.n, (tile + 1) * kMapTile);
  Cursor cursor = cursor_at(p, tile * kMapTile);
  for (int64_t i = tile * kMapTile; i < end;) {
    const int64_t count = least(end - i, p.dims[inner] - cursor.at[inner]);
    p.row(a + cursor.offset[0], b + cursor.offset[1], out + i, count, repeat);
    advance(p, cursor, count);
    i += count;
  }
}

void expand_tile(const void* params, void* const* operands, int64_t tile,
                 const TileContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const float* source[2] = {static_cast<const float*>(operands[0]),
                            static_cast<const float*>(operands[1])};
  float* copy[2] = {static_cast<float*>(context.scratch),
                    static_cast<float*>(context.scratch) + kScratch};
  float* out = static_cast<float*>(operands[2]);
  const int inner = p.rank - 1;
  const int64_t end = least(p.n, (tile + 1) * kMapTile);
  Cursor cursor = cursor_at(p, tile * kMapTile);
  for (int64_t begin = tile * kMapTile; begin < end; begin += kChunk) {
    const int64_t n = least(kChunk, end - begin);
    for (int64_t i = 0; i < n;) {
      const int64_t count = least(n - i, p.dims[inner] - cursor.at[inner]);
      for (int k = 0; k < 2; ++k) {
        if ((p.expand >> k & 1) == 0) continue;
        const float* from = source[k] + cursor.offset[k];
        if (p.strides[k][inner] == 0) {
          const Vec repeated = set1(*from);
          for (int64_t j = 0; j < count; j += kWidth) store(copy[k] + i + j, repeated);
        } else {
          for (int64_t j = 0; j < count; j += kWidth)
            store(copy[k] + i + j, load_partial(from + j, count - j));
        }
      }
      advance(p, cursor, count);
      i += count;
    }
    p.row((p.expand & 1) != 0 ? copy[0] : source[0] + begin,
          (p.expand & 2) != 0 ? copy[1] : source[1] + begin, out + begin, n, Repeat::kNeither);
  }
}

/// Strides of `t` along the output's dimensions: 0 where it is repeated.
void broadcast_strides(const Tensor& t, const Tensor& out, int64_t* strides) {
  int64_t stride = 1;
  for (int32_t d = out.rank - 1; d >= 0; --d) {
    const int32_t own = d - (out.rank - t.rank);
    const int64_t dim = own >= 0 ? t.dims[own] : 1;
    strides[d] = dim == 1 ? 0 : stride;
    stride *= dim;
  }
}

void merge_dimensions(const Tensor& a, const Tensor& b, const Tensor& out, Params& p) {
  int64_t strides[2][kMaxRank];
  broadcast_strides(a, out, strides[0]);
  broadcast_strides(b, out, strides[1]);
  p.rank = 0;
  for (int32_t d = 0; d < out.rank; ++d) {
    if (out.dims[d] == 1) continue;
    const int32_t last = p.rank - 1;
    if (last >= 0 && p.strides[0][last] == strides[0][d] * out.dims[d] &&
        p.strides[1][last] == strides[1][d] * out.dims[d]) {
      p.dims[last] *= out.dims[d];
    } else {
      p.dims[p.rank++] = out.dims[d];
    }
    p.strides[0][p.rank - 1] = strides[0][d];
    p.strides[1][p.rank - 1] = strides[1][d];
  }
  if (p.rank == 0) {  // one element
    p.dims[0] = p.strides[0][0] = p.strides[1][0] = 1;
    p.rank = 1;
  }
}

void launch(const NodeView& node, Emitter& emit, BinaryRowFn row_fn, double cost) {
  Params params{};
  params.row = row_fn;
  params.n = node.outputs[0]->numel;
  if (params.n == 0) return;
  merge_dimensions(*node.inputs[0], *node.inputs[1], *node.outputs[0], params);
  double work = cost * static_cast<double>(params.n);
  const int64_t inner = params.dims[params.rank - 1];
  if (params.rank > 1 && inner < kShortRow) {
    for (int k = 0; k < 2; ++k) {
      if (node.inputs[k]->numel != params.n) params.expand |= 1 << k;
    }
    emit.scratch(2 * kScratch * static_cast<int64_t>(sizeof(float)));
    work += static_cast<double>(params.n) * (0.3 + 5.0 / static_cast<double>(inner));
  } else {
    const int64_t rows = params.n / inner;
    work += static_cast<double>(rows) * 3;
  }
  emit.step(params.expand != 0 ? expand_tile : row_tile, &params, sizeof(params),
            tiles_of(params.n), work);
}

const BinaryRowFn kRows[] = {
#define BINARY(name, forward, gradient_a, gradient_b) name##_row,
#include "core/elementwise.def"
};

}  // namespace

#define BINARY(name, forward, gradient_a, gradient_b)       \
  void launch_##name(const NodeView& node, Emitter& emit) { \
    launch(node, emit, name##_row, cost_of(#forward));      \
  }
#include "core/elementwise.def"

BinaryRowFn binary_row_function(Op op) {
  const int index = static_cast<int>(op) - static_cast<int>(Op::add);  // the first of them
  const bool found = index >= 0 && index < static_cast<int>(sizeof(kRows) / sizeof(kRows[0]));
  return found ? kRows[index] : nullptr;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
