// Packing: rows of A and columns of B copied to the order in which the kernels read them.
#include "cpu/isa/gemm_kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

#if defined(TANDEM_ISA_AVX512)

// Four rows of four 4 x 4 squares, each transposed in its lane.
TANDEM_INLINE void transpose_squares(Lanes* r) {
  const __m512 a = _mm512_unpacklo_ps(r[0].v, r[1].v);
  const __m512 b = _mm512_unpackhi_ps(r[0].v, r[1].v);
  const __m512 c = _mm512_unpacklo_ps(r[2].v, r[3].v);
  const __m512 d = _mm512_unpackhi_ps(r[2].v, r[3].v);
  r[0].v = _mm512_shuffle_ps(a, c, 0x44);
  r[1].v = _mm512_shuffle_ps(a, c, 0xee);
  r[2].v = _mm512_shuffle_ps(b, d, 0x44);
  r[3].v = _mm512_shuffle_ps(b, d, 0xee);
}

// The squares reach their lanes as they are loaded: that leaves half of the shuffles of a
// transpose between registers.
TANDEM_INLINE void load_transposed(const char* src, int64_t src_row, Lanes r[kLanes]) {
  const auto four = [](const char* p) { return _mm_loadu_ps(reinterpret_cast<const float*>(p)); };
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const char* p = src + i * src_row + 16 * q;
      __m512 v = _mm512_castps128_ps512(four(p));
      v = _mm512_mask_broadcast_f32x4(v, 0x00f0, four(p + 4 * src_row));
      v = _mm512_mask_broadcast_f32x4(v, 0x0f00, four(p + 8 * src_row));
      r[4 * q + i].v = _mm512_mask_broadcast_f32x4(v, 0xf000, four(p + 12 * src_row));
    }
    transpose_squares(r + 4 * q);
  }
}

// r[i] holds row i before and column i after.
TANDEM_INLINE void transpose(Lanes r[kLanes]) {
  __m512 t[kLanes];
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; i += 4) transpose_squares(r + i);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_f32x4(r[i].v, r[i + 4].v, 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(r[i].v, r[i + 4].v, 0xdd);
    t[i + 8] = _mm512_shuffle_f32x4(r[i + 8].v, r[i + 12].v, 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(r[i + 8].v, r[i + 12].v, 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i].v = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
    r[i + 8].v = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    r[i + 4].v = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12].v = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

#elif defined(TANDEM_ISA_AVX2)

TANDEM_INLINE void transpose(Lanes r[kLanes]) {
  __m256 t[kLanes];
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm256_unpackhi_ps(r[i].v, r[i + 1].v);
  }
#pragma GCC unroll 2
  for (int i = 0; i < kLanes; i += 4) {
    r[i].v = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1].v = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2].v = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3].v = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm256_permute2f128_ps(r[i].v, r[i + 4].v, 0x20);
    t[i + 4] = _mm256_permute2f128_ps(r[i].v, r[i + 4].v, 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kLanes; ++i) r[i].v = t[i];
}

#else

TANDEM_INLINE void transpose(Lanes r[kLanes]) {
  for (int i = 0; i < kLanes; ++i)
    for (int j = 0; j < i; ++j) {
      const float x = r[i].lane[j];
      r[i].lane[j] = r[j].lane[i];
      r[j].lane[i] = x;
    }
}

#endif

TANDEM_INLINE Lanes load_raw(const char* p) { return as_lanes(load_words(p)); }
TANDEM_INLINE Lanes load_raw(const char* p, int n) { return as_lanes(load_words(p, n)); }

#if !defined(TANDEM_ISA_AVX512)
TANDEM_INLINE void load_transposed(const char* src, int64_t src_row, Lanes r[kLanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) r[i] = load_raw(src + i * src_row);
  transpose(r);
}
#endif

}  // namespace

void transpose_strip(const char* src, int64_t src_row, int rows, int64_t columns, char* out,
                     int64_t out_row) {
  Lanes r[kLanes];
  int64_t j = 0;
  if (rows == kLanes) {
    for (; j + kLanes <= columns; j += kLanes) {
      // So many rows at once are more than the hardware prefetcher follows.
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) __builtin_prefetch(src + i * src_row + (j + 2 * kLanes) * 4);
      load_transposed(src + j * 4, src_row, r);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) store_words(out + (j + i) * out_row * 4, as_words(r[i]));
    }
  }
  for (; j < columns; j += kLanes) {
    const int count = static_cast<int>(least(columns - j, kLanes));
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i)
      r[i] = i < rows ? load_raw(src + i * src_row + j * 4, count) : spread(0.0F);
    transpose(r);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i)
      if (i < count) store_words(out + (j + i) * out_row * 4, as_words(r[i]));
  }
}

void pack_a_panel(const char* a, int64_t a_row, int64_t a_col, int64_t rows, int64_t k,
                  char* panel) {
  const int count = static_cast<int>(rows);
  if (a_col == 1) {
    transpose_strip(a, a_row * 4, count, k, panel, kPackedRows);
  } else {
    for (int64_t i = 0; i < k; ++i)
      store_words(panel + i * kPackedRows * 4, load_words(a + i * a_col * 4, count));
  }
}

void pack_b_panels(const float* b, int64_t b_row, int64_t b_col, int64_t n, int64_t k, int64_t p0,
                   int64_t p1, int64_t k0, int64_t k1, float* packed) {
  if (b_col == 1) {
    // Whole rows, so that each page of B is visited once: full panels, then the last one.
    const int64_t full = least(p1, n / kPanelColumns);
    for (int64_t i = k0; i < k1; ++i) {
      const float* src = b + i * b_row + p0 * kPanelColumns;
      float* out = packed + p0 * kPanelColumns * k + i * kPanelColumns;
      for (int64_t p = p0; p < full; ++p, src += kPanelColumns, out += kPanelColumns * k) {
        store(out, load_lanes(src));
        store(out + kLanes, load_lanes(src + kLanes));
      }
    }
    if (full == p1) return;
    const int64_t left = n - full * kPanelColumns, width = left > kLanes ? kPanelColumns : kLanes;
    const int in_first = static_cast<int>(least(left, kLanes));
    const int in_second = static_cast<int>(left - in_first);
    for (int64_t i = k0; i < k1; ++i) {
      const float* src = b + i * b_row + full * kPanelColumns;
      float* out = packed + full * kPanelColumns * k + i * width;
      store(out, load_lanes(src, in_first));
      if (width == kPanelColumns) store(out + kLanes, load_lanes(src + kLanes, in_second));
    }
    return;
  }
  for (int64_t p = p0; p < p1; ++p) {
    const int64_t left = n - p * kPanelColumns;
    const int64_t width = left > kLanes ? kPanelColumns : kLanes;
    float* out = packed + p * kPanelColumns * k + k0 * width;
    const float* src = b + p * kPanelColumns * b_col + k0 * b_row;
    for (int64_t j = 0; j < width; j += kLanes)
      transpose_strip(reinterpret_cast<const char*>(src + j * b_col), b_col * 4,
                      static_cast<int>(least(left - j, kLanes)), k1 - k0,
                      reinterpret_cast<char*>(out + j), width);
  }
}

void gemm_pack_b(const GemmPlan& plan, const void* b, void* packed, int64_t tile) {
  const GemmDesc& d = plan.desc;
  const int64_t panel_tiles = ceil_div(plan.col_panels, plan.pack_panels);
  const int64_t k_tiles = ceil_div(plan.k_words, plan.pack_k);
  const int64_t kt = tile % k_tiles;
  const int64_t pt = tile / k_tiles % panel_tiles;
  const int64_t matrix = tile / k_tiles / panel_tiles;
  // Repeated dimensions of B have one packed matrix, so they do not count here.
  const int64_t inner = d.b_batch[1] != 0 ? d.batch[1] : 1;
  const int64_t at = matrix / inner * d.b_batch[0] + matrix % inner * d.b_batch[1];
  const int64_t p0 = pt * plan.pack_panels;
  const int64_t p1 = least(p0 + plan.pack_panels, plan.col_panels);
  char* out = static_cast<char*>(packed) + matrix * plan.packed_bytes;
  if (d.type == GEMM_F32) {
    pack_b_panels(static_cast<const float*>(b) + at, d.b_row, d.b_col, d.n, d.k, p0, p1,
                  kt * plan.pack_k, least((kt + 1) * plan.pack_k, d.k),
                  reinterpret_cast<float*>(out));
  } else {
    pack_b_words(plan, static_cast<const char*>(b) + at * element_bytes(d.type), d.n, p0, p1, out,
                 reinterpret_cast<int32_t*>(out + plan.sums_at));
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
