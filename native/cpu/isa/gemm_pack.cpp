// Packing: rows of A and columns of B copied to the order in which the kernels read them.
#include "cpu/isa/gemm_kernel.h"
#include "cpu/isa/transpose_lanes.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

// Columns of A, `k` floats each, as words of panels of some rows that follow each other: a row of
// words of all panels, then the next, so that memory is read from end to end.
void copy_across_rows(const float* x, int64_t x_row, int64_t k, char* out, const GemmStrip& strip) {
  const int columns = static_cast<int>(strip.columns);
  for (int64_t i = 0; i < k; ++i, x += x_row, out += strip.out_row) {
    const auto* from = reinterpret_cast<const char*>(x);
    char* to = out;
    for (int64_t p = 0; p < strip.panels; ++p, from += columns * 4, to += strip.out_panel)
      store_words(to, load_words(from, columns));
  }
}

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
  const int64_t k_tiles = ceil_div(plan.packed_words, plan.pack_k);
  const int64_t kt = tile % k_tiles;
  const int64_t pt = tile / k_tiles % panel_tiles;
  const int64_t matrix = tile / k_tiles / panel_tiles;
  // Repeated dimensions of B have one packed matrix, so they do not count here.
  const int64_t inner = d.b_batch[1] != 0 ? d.batch[1] : 1;
  const int64_t at = matrix / inner * d.b_batch[0] + matrix % inner * d.b_batch[1];
  const int64_t p0 = pt * plan.pack_panels;
  const int64_t p1 = least(p0 + plan.pack_panels, plan.col_panels);
  char* out = static_cast<char*>(packed) + matrix * plan.packed_bytes;
  if (d.type == GEMM_F32 || plan.source == GEMM_B_SPLIT) {
    pack_b_panels(static_cast<const float*>(b) + at, d.b_row, d.b_col, d.n, d.k, p0, p1,
                  kt * plan.pack_k, least((kt + 1) * plan.pack_k, d.k),
                  reinterpret_cast<float*>(out));
  } else if (d.from_float) {
    round_b_panels(plan, static_cast<const float*>(b) + at, d.n, p0, p1, kt * plan.pack_k,
                   least((kt + 1) * plan.pack_k, plan.k_words), out);
  } else {
    pack_b_words(plan, static_cast<const char*>(b) + at * element_bytes(d.type), d.n, p0, p1, out,
                 reinterpret_cast<int32_t*>(out + plan.sums_at));
  }
}

namespace {

// Tiles of a panel of rows, whose words are neighbours.
void round_panel_of_rows(const GemmPlan& plan, const float* a, int64_t panel, char* packed) {
  const GemmDesc& d = plan.desc;
  const int64_t first = panel_row(plan, panel), rows = panel_row(plan, panel + 1) - first;
  const int64_t row = kLanes * d.kernels->a_word, word = d.kernels->panel_rows * d.kernels->a_word;
  char* const out = packed + panel * packed_a_panel(plan);
  for (int64_t w = 0; w < plan.k_words; w += kLanes)
    d.kernels->rounding->along_rows(a + first * d.a_row + 2 * w, d.a_row, rows, d.k - 2 * w, kLanes,
                                    out + w * word, row);
}

// Tiles of all panels for some words of k, a vector at a time.
void round_tiles(const GemmPlan& plan, const float* a, int64_t w0, int64_t words, char* packed) {
  const GemmDesc& d = plan.desc;
  const GemmRounding& rounding = *d.kernels->rounding;
  const int64_t panel = packed_a_panel(plan), word = d.kernels->panel_rows * d.kernels->a_word;
  const int64_t row = kLanes * d.kernels->a_word;
  for (int64_t w = w0; w < w0 + words; w += kLanes)
    for (int64_t p = 0; p < plan.row_panels.count; ++p) {
      const int64_t first = panel_row(plan, p), rows = panel_row(plan, p + 1) - first;
      for (int64_t i = 0; i < rows; i += kLanes)
        rounding.square(a + first + i + 2 * w * d.a_col, d.a_col, least(rows - i, kLanes),
                        d.k - 2 * w, packed + p * panel + w * word + i * row, row);
    }
}

}  // namespace

void pack_a_panels(const GemmPlan& plan, const char* a, int64_t p0, int64_t p1, int64_t w0,
                   int64_t words, char* packed, int64_t panel) {
  const GemmDesc& d = plan.desc;
  const GemmParts& panels = plan.row_panels;
  const int64_t k0 = w0 * d.kernels->group;
  const auto pack = [&](int64_t first, int64_t last, int64_t rows) {
    if (first >= last) return;
    const GemmStrip strip = {last - first, rows, kPackedRows * 4, panel};
    const int64_t at = part_start(panels, first) + k0 * d.a_col;
    const float* from = reinterpret_cast<const float*>(a) + at;
    char* to = packed + (first - p0) * panel;
    if (d.type == GEMM_F32)
      copy_across_rows(from, d.a_col, words, to, strip);
    else
      d.kernels->rounding->across_rows(from, d.a_col, d.k - k0, words, to, strip);
  };
  // Panels of one more row come first.
  pack(p0, least(p1, panels.longer), panels.size + 1);
  pack(most(p0, panels.longer), p1, panels.size);
}

// All panels for some words of k, or a panel of rows.
void gemm_pack_a(const GemmPlan& plan, const void* a, void* packed, int64_t tile) {
  if (plan.desc.a_col == 1) {
    round_panel_of_rows(plan, static_cast<const float*>(a), tile, static_cast<char*>(packed));
    return;
  }
  const int64_t w0 = tile * plan.pack_a_k, words = least(plan.pack_a_k, plan.k_words - w0);
  if (packs_tiles(plan.desc)) {
    round_tiles(plan, static_cast<const float*>(a), w0, words, static_cast<char*>(packed));
    return;
  }
  pack_a_panels(plan, static_cast<const char*>(a), 0, plan.row_panels.count, w0, words,
                static_cast<char*>(packed) + w0 * kPackedRows * 4, packed_a_panel(plan));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
