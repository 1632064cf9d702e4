// transpose: any permutation of axes, 4-byte elements. Axes that stay together are merged first.
// When the innermost axis stays innermost the rest is copies of runs; otherwise the innermost axes
// of input and output span planes, which are transposed in blocks of registers.
#include "core/ops/transpose.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct RunParams {
  int64_t total;
  Walk outer;  // of the output, with the input's strides
  int64_t run;
};

void run_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<RunParams>(params);
  const auto* in = static_cast<const uint32_t*>(operands[0]);
  auto* out = static_cast<uint32_t*>(operands[1]);
  const Range range = piece(tile, kMoveTile, p.total);
  Odometer row = odometer_at(p.outer, range.begin / p.run);
  int64_t column = range.begin % p.run;
  for (int64_t at = range.begin; at < range.end;) {
    const int64_t n = least(p.run - column, range.end - at);
    copy_words(out + at, in + row.offset + column, n);
    at += n;
    column = 0;
    advance(p.outer, row);
  }
}

// ---- planes ------------------------------------------------------------------------------------

struct PlaneParams {
  Walk batch_in, batch_out;  // the other axes
  int64_t columns;           // of the output: its innermost axis, `in_stride` apart in the input
  int64_t rows;              // of the output: the input's innermost axis, `out_stride` apart
  int64_t in_stride, out_stride;
  int64_t block_columns, block_rows;
  int64_t blocks, blocks_per_tile;
};

#if defined(TANDEM_ISA_AVX512) || defined(TANDEM_ISA_AVX2)

#if defined(TANDEM_ISA_AVX512)
TANDEM_INLINE void transpose_registers(Vec (&x)[kWidth]) {
  __m512 t[kWidth];
  for (int i = 0; i < kWidth; i += 4) {  // 4 x 4 within the four 128-bit lanes
    const __m512 a = _mm512_unpacklo_ps(x[i].v, x[i + 1].v);
    const __m512 b = _mm512_unpackhi_ps(x[i].v, x[i + 1].v);
    const __m512 c0 = _mm512_unpacklo_ps(x[i + 2].v, x[i + 3].v);
    const __m512 d = _mm512_unpackhi_ps(x[i + 2].v, x[i + 3].v);
    t[i] = _mm512_shuffle_ps(a, c0, 0x44);
    t[i + 1] = _mm512_shuffle_ps(a, c0, 0xee);
    t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
    t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
  }
  for (int i = 0; i < 4; ++i) {  // 4 x 4 of lanes
    const __m512 a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88);
    const __m512 b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
    const __m512 c0 = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
    const __m512 d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
    x[i].v = _mm512_shuffle_f32x4(a, c0, 0x88);
    x[i + 4].v = _mm512_shuffle_f32x4(b, d, 0x88);
    x[i + 8].v = _mm512_shuffle_f32x4(a, c0, 0xdd);
    x[i + 12].v = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}
#else
TANDEM_INLINE void transpose_registers(Vec (&x)[kWidth]) {
  __m256 t[kWidth];
  for (int i = 0; i < kWidth; i += 4) {
    const __m256 a = _mm256_unpacklo_ps(x[i].v, x[i + 1].v);
    const __m256 b = _mm256_unpackhi_ps(x[i].v, x[i + 1].v);
    const __m256 c0 = _mm256_unpacklo_ps(x[i + 2].v, x[i + 3].v);
    const __m256 d = _mm256_unpackhi_ps(x[i + 2].v, x[i + 3].v);
    t[i] = _mm256_shuffle_ps(a, c0, 0x44);
    t[i + 1] = _mm256_shuffle_ps(a, c0, 0xee);
    t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
    t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    x[i].v = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
    x[i + 4].v = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
  }
}
#endif

/// out[r][c] = in[c][r] for `rows` and `columns` of at most a vector each.
TANDEM_INLINE void transpose_vectors(const float* in, int64_t in_stride, float* out,
                                     int64_t out_stride, int64_t rows, int64_t columns) {
  Vec x[kWidth];
  if (rows >= kWidth && columns >= kWidth) {
    for (int i = 0; i < kWidth; ++i) x[i] = load(in + i * in_stride);
    transpose_registers(x);
    for (int i = 0; i < kWidth; ++i) store(out + i * out_stride, x[i]);
    return;
  }
  for (int i = 0; i < kWidth; ++i)
    x[i] = i < columns ? load_partial(in + i * in_stride, rows) : zero();
  transpose_registers(x);
  for (int i = 0; i < kWidth; ++i) {
    if (i < rows) store_partial(out + i * out_stride, x[i], columns);
  }
}

#else

TANDEM_INLINE void transpose_vectors(const float* in, int64_t, float* out, int64_t, int64_t,
                                     int64_t) {
  std::memcpy(out, in, sizeof(float));
}

#endif

void plane_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<PlaneParams>(params);
  const int64_t across = ceil_div(p.columns, p.block_columns);
  const int64_t down = ceil_div(p.rows, p.block_rows);
  const Range range = piece(tile, p.blocks_per_tile, p.blocks);
  for (int64_t block = range.begin; block < range.end; ++block) {
    const int64_t batch = block / (across * down);
    const int64_t c0 = block % across * p.block_columns;
    const int64_t r0 = block / across % down * p.block_rows;
    const int64_t c1 = least(c0 + p.block_columns, p.columns);
    const int64_t r1 = least(r0 + p.block_rows, p.rows);
    const float* in =
        static_cast<const float*>(operands[0]) + odometer_at(p.batch_in, batch).offset;
    float* out = static_cast<float*>(operands[1]) + odometer_at(p.batch_out, batch).offset;
    for (int64_t r = r0; r < r1; r += kWidth) {
      for (int64_t c = c0; c < c1; c += kWidth) {
        transpose_vectors(in + c * p.in_stride + r, p.in_stride, out + r * p.out_stride + c,
                          p.out_stride, least(r1 - r, kWidth), least(c1 - c, kWidth));
      }
    }
  }
}

void emit_planes(Emitter& emit, const Walk& walk, int64_t total) {
  PlaneParams p{};
  int32_t inner = 0;  // the axis of the output that is innermost in the input
  while (walk.strides[inner] != 1) ++inner;
  const int32_t last = walk.rank - 1;
  int64_t out_stride = 1;
  int64_t out_strides[kMaxRank];
  for (int32_t i = walk.rank; i-- > 0;) {
    out_strides[i] = out_stride;
    out_stride *= walk.dims[i];
  }
  for (int32_t i = 0; i < last; ++i) {  // not merged, so that both walks count alike
    if (i == inner) continue;
    p.batch_in.dims[p.batch_in.rank] = walk.dims[i];
    p.batch_in.strides[p.batch_in.rank++] = walk.strides[i];
    p.batch_out.dims[p.batch_out.rank] = walk.dims[i];
    p.batch_out.strides[p.batch_out.rank++] = out_strides[i];
  }
  p.columns = walk.dims[last];
  p.rows = walk.dims[inner];
  p.in_stride = walk.strides[last];
  p.out_stride = out_strides[inner];
  // A narrow plane is cut into longer blocks.
  p.block_columns = most(64, 4096 / (least(p.rows, 64) + 15) / 64 * 64);
  p.block_rows = most(64, 4096 / (least(p.columns, 64) + 15) / 64 * 64);
  p.blocks = walk_count(p.batch_in) * ceil_div(p.columns, p.block_columns) *
             ceil_div(p.rows, p.block_rows);
  const int64_t block_elements = least(p.columns, p.block_columns) * least(p.rows, p.block_rows);
  p.blocks_per_tile = ceil_div(8192, block_elements);
  const double cost =
      20.0 + 0.3 * static_cast<double>(total) + 10.0 * static_cast<double>(p.blocks);
  emit_step(emit, plane_tile, p, ceil_div(p.blocks, p.blocks_per_tile), cost);
}

}  // namespace

void launch_transpose(const NodeView& node, Emitter& emit) {
  const IntList& perm = attributes_of<ops::Transpose::Attributes>(node).perm;
  const Tensor& x = *node.inputs[0];
  if (x.numel == 0) return;
  Walk walk{};
  for (int32_t i = 0; i < x.rank; ++i)
    add_dim(walk, x.dims[perm.values[i]], stride_of(x, perm.values[i]));
  if (walk.rank > 0 && walk.strides[walk.rank - 1] != 1) {
    emit_planes(emit, walk, x.numel);
    return;
  }
  RunParams p{x.numel, walk, 1};
  if (walk.rank > 0) p.run = walk.dims[--p.outer.rank];
  const double runs = static_cast<double>(x.numel) / static_cast<double>(p.run);
  emit_step(emit, run_tile, p, ceil_div(x.numel, kMoveTile),
            20.0 + kMoveCost * static_cast<double>(x.numel) + 3.0 * runs);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
