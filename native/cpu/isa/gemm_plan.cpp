// Decides from the shape alone how a matrix product is cut in tiles and what is packed.
#include "gemm_kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

// A panel of A (kc * A_PANEL floats) stays in half of a 32 KiB L1, a block of B (kc * columns)
// in half of a 1 MiB L2.
constexpr int64_t KC = 384;
constexpr int64_t L2_FLOATS = 128 * 1024;
// Below this a tile costs about as much to hand out as to compute: some 5 us.
constexpr int64_t TILE_MACS = 8 * 1024 * W;
// Enough tiles that 16 threads end at about the same time.
constexpr int64_t TILES = 40;
constexpr int64_t DIRECT_FLOATS = 4 * 1024;    // B stays in half of L1 however its rows fall
constexpr int64_t LOCAL_FLOATS = 16 * 1024;
constexpr int64_t PACK_TILE_FLOATS = 16 * 1024;
constexpr int64_t DOT_ROWS = 8, DOT_COLUMNS = 4;

// A batch that walks through A and C as further rows is one product with more rows.
void fold_batch(GemmDesc& d) {
  for (int i = 1; i >= 0; --i) {
    if (d.batch[i] <= 1 || (i == 0 && d.batch[1] > 1)) continue;
    if (d.b_batch[i] != 0 || d.a_batch[i] != d.m * d.a_row || d.c_batch[i] != d.m * d.c_row) break;
    d.m *= d.batch[i];
    d.batch[i] = 1;
  }
}

GemmSource choose_source(const GemmDesc& d, int64_t matrices) {
  if (d.b_packed) return GEMM_B_PACKED;
  const bool dots = d.b_row == 1 && d.a_col == 1;
  if (dots && (d.m <= DOT_ROWS || d.n <= DOT_COLUMNS)) return GEMM_B_DOT;
  // Up to MR rows read B once: a copy would not be read again.
  if (d.b_col == 1 && (d.m <= MR || d.k * d.n <= DIRECT_FLOATS)) return GEMM_B_DIRECT;
  // Products that are one tile each pack for themselves, without a stage of its own.
  if (d.k * d.n <= LOCAL_FLOATS && (matrices > 1 || d.m * d.n * d.k <= 4 * TILE_MACS))
    return GEMM_B_LOCAL;
  return GEMM_B_PACKED;
}

// The grid of blocks: at least `wanted` of them where the shape has them, each with columns of B
// that fit in L2, with the least traffic: A is packed once per column of the grid, B comes from
// L3 once per row of it.
void choose_grid(GemmPlan& p, int64_t wanted) {
  const GemmDesc& d = p.desc;
  const int64_t width = NR * p.kc;
  const int64_t least = at_least(1, ceil_div(p.col_panels * width, L2_FLOATS));
  int64_t best = -1;
  for (int64_t cols = at_most(least, p.col_panels); cols <= p.col_panels; ++cols) {
    int64_t rows = at_most(ceil_div(wanted, cols), p.row_panels);
    // Blocks of equal height where possible.
    rows = ceil_div(p.row_panels, at_least(1, p.row_panels / rows));
    const int64_t per_col = ceil_div(p.col_panels, cols), per_row = ceil_div(p.row_panels, rows);
    const int64_t work = per_col * per_row * rows * cols - p.col_panels * p.row_panels;
    const int64_t cost = d.k * (cols * d.m * 3 + rows * d.n * 2) / 8 +
                         work * MR * NR * d.k / (8 * W) +
                         (rows * cols < wanted ? d.m * d.n * d.k / W : 0);
    if (best < 0 || cost < best) {
      best = cost;
      p.row_blocks = rows;
      p.col_blocks = cols;
    }
    if (cols >= wanted && best >= 0) break;
  }
}

}  // namespace

GemmPlan plan_gemm(const GemmDesc& desc) {
  GemmPlan p = {};
  p.desc = desc;
  GemmDesc& d = p.desc;
  fold_batch(d);
  // A dimension of one element has no stride of its own: choose the one that reads in place.
  if (d.m == 1) d.a_row = d.a_col == 1 ? d.k : 1;
  if (d.n == 1 && d.b_row != 1) d.b_col = 1;

  const int64_t matrices = d.batch[0] * d.batch[1];
  p.b_matrices = (d.b_batch[0] != 0 ? d.batch[0] : 1) * (d.b_batch[1] != 0 ? d.batch[1] : 1);
  p.packed_floats = d.k * ceil_div(d.n, W) * W;
  p.kc = at_least(1, ceil_div(d.k, at_least(1, ceil_div(d.k, KC))));
  if (d.m == 0 || d.n == 0 || matrices == 0) return p;

  p.source = choose_source(d, matrices);
  p.row_panels = p.source == GEMM_B_DOT ? 1 : ceil_div(d.m, MR);
  p.col_panels = ceil_div(d.n, NR);
  p.row_blocks = p.col_blocks = 1;
  const int64_t macs = d.m * d.n * d.k;
  const int64_t wanted =
      at_least(1, at_most(ceil_div(TILES, matrices), ceil_div(macs, TILE_MACS)));
  if (p.source == GEMM_B_DOT) {
    if (d.m > DOT_ROWS) p.row_panels = ceil_div(d.m, DOT_ROWS);
    p.row_blocks = at_most(wanted, p.row_panels);
    p.col_blocks = at_most(ceil_div(wanted, p.row_blocks), p.col_panels);
  } else if (p.source != GEMM_B_LOCAL || macs > 4 * TILE_MACS) {
    choose_grid(p, wanted);
  }
  p.compute_tiles = matrices * p.row_blocks * p.col_blocks;

  // A copied row panel is read once per column panel of its block. Rows in place are as good for
  // few of those, unless their distance maps them to the same few sets of the L1.
  const int64_t block_panels = ceil_div(p.col_panels, p.col_blocks);
  const int64_t a_stride = d.a_col == 1 ? d.a_row : d.a_col;
  const bool collide = a_stride % 256 == 0;
  p.pack_a = p.source != GEMM_B_DOT && d.m > 1 && (collide ? block_panels > 2 : block_panels > 16);
  p.scratch_bytes = (p.pack_a ? p.kc * A_PANEL * 4 : 0) +
                    (p.source == GEMM_B_LOCAL ? p.packed_floats * 4 : 0);

  if (p.source == GEMM_B_PACKED && d.k > 0) {
    p.packed_b_bytes = p.b_matrices * p.packed_floats * 4;
    // Long pieces of the rows that B has in memory, of k or of n.
    p.pack_k = at_most(d.k, d.b_col == 1 ? 256 : 1024);
    p.pack_panels = at_least(1, PACK_TILE_FLOATS / (NR * p.pack_k));
    p.pack_tiles = p.b_matrices * ceil_div(p.col_panels, p.pack_panels) * ceil_div(d.k, p.pack_k);
  }
  return p;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
