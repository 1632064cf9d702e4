// Packing: rows of A and columns of B copied to the order in which the kernels read them.
#include "gemm_kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

#if defined(TANDEM_ISA_AVX512)

// Four rows of four 4 x 4 squares, each transposed in its lane.
TANDEM_INLINE void transpose_lanes(Vec* r) {
  const Vec a = _mm512_maskz_unpacklo_ps(ALL, r[0], r[1]);
  const Vec b = _mm512_maskz_unpackhi_ps(ALL, r[0], r[1]);
  const Vec c = _mm512_maskz_unpacklo_ps(ALL, r[2], r[3]);
  const Vec d = _mm512_maskz_unpackhi_ps(ALL, r[2], r[3]);
  r[0] = _mm512_maskz_shuffle_ps(ALL, a, c, 0x44);
  r[1] = _mm512_maskz_shuffle_ps(ALL, a, c, 0xee);
  r[2] = _mm512_maskz_shuffle_ps(ALL, b, d, 0x44);
  r[3] = _mm512_maskz_shuffle_ps(ALL, b, d, 0xee);
}

// The squares reach their lanes as they are loaded: that leaves half of the shuffles of a
// transpose between registers.
TANDEM_INLINE void load_transposed(const float* src, int64_t src_row, Vec r[W]) {
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const float* p = src + i * src_row + 4 * q;
      __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(p));
      v = _mm512_mask_broadcast_f32x4(v, 0x00f0, _mm_loadu_ps(p + 4 * src_row));
      v = _mm512_mask_broadcast_f32x4(v, 0x0f00, _mm_loadu_ps(p + 8 * src_row));
      r[4 * q + i] = _mm512_mask_broadcast_f32x4(v, 0xf000, _mm_loadu_ps(p + 12 * src_row));
    }
    transpose_lanes(r + 4 * q);
  }
}

// r[i] holds row i before and column i after.
TANDEM_INLINE void transpose(Vec r[W]) {
  __m512 t[W];
#pragma GCC unroll 8
  for (int i = 0; i < W; i += 2) {
    t[i] = _mm512_maskz_unpacklo_ps(ALL, r[i], r[i + 1]);
    t[i + 1] = _mm512_maskz_unpackhi_ps(ALL, r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < W; i += 4) {
    r[i] = _mm512_maskz_shuffle_ps(ALL, t[i], t[i + 2], 0x44);
    r[i + 1] = _mm512_maskz_shuffle_ps(ALL, t[i], t[i + 2], 0xee);
    r[i + 2] = _mm512_maskz_shuffle_ps(ALL, t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm512_maskz_shuffle_ps(ALL, t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_maskz_shuffle_f32x4(ALL, r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_maskz_shuffle_f32x4(ALL, r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_maskz_shuffle_f32x4(ALL, r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_maskz_shuffle_f32x4(ALL, r[i + 8], r[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_maskz_shuffle_f32x4(ALL, t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_maskz_shuffle_f32x4(ALL, t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_maskz_shuffle_f32x4(ALL, t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_maskz_shuffle_f32x4(ALL, t[i + 4], t[i + 12], 0xdd);
  }
}

#elif defined(TANDEM_ISA_AVX2)

TANDEM_INLINE void transpose(Vec r[W]) {
  __m256 t[W];
#pragma GCC unroll 4
  for (int i = 0; i < W; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < W; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
    t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < W; ++i) r[i] = t[i];
}

#else

TANDEM_INLINE void transpose(Vec r[W]) {
  for (int i = 0; i < W; ++i)
    for (int j = 0; j < i; ++j) {
      const float x = r[i].lane[j];
      r[i].lane[j] = r[j].lane[i];
      r[j].lane[i] = x;
    }
}

#endif

#if !defined(TANDEM_ISA_AVX512)
TANDEM_INLINE void load_transposed(const float* src, int64_t src_row, Vec r[W]) {
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i) r[i] = vload(src + i * src_row);
  transpose(r);
}
#endif

// out[j][0..W) = column j of src[rows][columns] for rows <= W; missing rows become zero.
TANDEM_INLINE void transpose_strip(const float* src, int64_t src_row, int rows, int64_t columns,
                                   float* out, int64_t out_row) {
  Vec r[W];
  int64_t j = 0;
  if (rows == W) {
    for (; j + W <= columns; j += W) {
      // So many rows at once are more than the hardware prefetcher follows.
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) __builtin_prefetch(src + i * src_row + j + 2 * W);
      load_transposed(src + j, src_row, r);
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) vstore(out + (j + i) * out_row, r[i]);
    }
  }
  for (; j < columns; j += W) {
    const int count = static_cast<int>(at_most(columns - j, W));
#pragma GCC unroll 16
    for (int i = 0; i < W; ++i)
      r[i] = i < rows ? vload_part(src + i * src_row + j, count) : vzero();
    transpose(r);
#pragma GCC unroll 16
    for (int i = 0; i < W; ++i)
      if (i < count) vstore(out + (j + i) * out_row, r[i]);
  }
}

}  // namespace

void pack_a_panel(const float* a, int64_t a_row, int64_t a_col, int64_t rows, int64_t k,
                  float* panel) {
  const int count = static_cast<int>(rows);
  if (a_col == 1) {
    transpose_strip(a, a_row, count, k, panel, A_PANEL);
  } else {
    for (int64_t i = 0; i < k; ++i) vstore(panel + i * A_PANEL, vload_part(a + i * a_col, count));
  }
}

void pack_b_panels(const float* b, int64_t b_row, int64_t b_col, int64_t n, int64_t k, int64_t p0,
                   int64_t p1, int64_t k0, int64_t k1, float* packed) {
  if (b_col == 1) {
    // Whole rows, so that each page of B is visited once: full panels, then the last one.
    const int64_t full = at_most(p1, n / NR);
    for (int64_t i = k0; i < k1; ++i) {
      const float* src = b + i * b_row + p0 * NR;
      float* out = packed + p0 * NR * k + i * NR;
      for (int64_t p = p0; p < full; ++p, src += NR, out += NR * k) {
        vstore(out, vload(src));
        vstore(out + W, vload(src + W));
      }
    }
    if (full == p1) return;
    const int64_t left = n - full * NR, width = left > W ? NR : W;
    const int first = static_cast<int>(at_most(left, W)), second = static_cast<int>(left - first);
    for (int64_t i = k0; i < k1; ++i) {
      const float* src = b + i * b_row + full * NR;
      float* out = packed + full * NR * k + i * width;
      vstore(out, vload_part(src, first));
      if (width == NR) vstore(out + W, vload_part(src + W, second));
    }
    return;
  }
  for (int64_t p = p0; p < p1; ++p) {
    const int64_t left = n - p * NR;
    const int64_t width = left > W ? NR : W;
    float* out = packed + p * NR * k + k0 * width;
    const float* src = b + p * NR * b_col + k0 * b_row;
    for (int64_t j = 0; j < width; j += W)
      transpose_strip(src + j * b_col, b_col, static_cast<int>(at_most(left - j, W)), k1 - k0,
                      out + j, width);
  }
}

void gemm_pack_b(const GemmPlan& plan, const float* b, float* packed, int64_t tile) {
  const GemmDesc& d = plan.desc;
  const int64_t panel_tiles = ceil_div(plan.col_panels, plan.pack_panels);
  const int64_t k_tiles = ceil_div(d.k, plan.pack_k);
  const int64_t kt = tile % k_tiles;
  const int64_t pt = tile / k_tiles % panel_tiles;
  const int64_t matrix = tile / k_tiles / panel_tiles;
  // Repeated dimensions of B have one packed matrix, so they do not count here.
  const int64_t inner = d.b_batch[1] != 0 ? d.batch[1] : 1;
  pack_b_panels(b + matrix / inner * d.b_batch[0] + matrix % inner * d.b_batch[1], d.b_row, d.b_col,
                d.n, d.k, pt * plan.pack_panels,
                at_most((pt + 1) * plan.pack_panels, plan.col_panels), kt * plan.pack_k,
                at_most((kt + 1) * plan.pack_k, d.k), packed + matrix * plan.packed_floats);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
