// Decides from the shape alone how a matrix product is cut in tiles and what is packed.
#include "cpu/cpu_features.h"
#include "cpu/isa/gemm_kernel.h"
#include "cpu/isa/gemm_split.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

// Long sums in registers beat panels that fit in L1: the panels stream from L2 well ahead of the
// FMAs, while every step of k reads and writes C again. Fewer sums hide less of that.
constexpr int64_t kLongestSum = kLanes == 16 ? 1024 : 800;
constexpr int64_t kL2Floats = 192 * 1024;
// Of kernels that keep sums in scratch, and read A and B many times as fast: 32 rows of A fill two
// thirds of the L1, or all of it if that is the end of them.
constexpr int64_t kTileSum = 256, kLongestTileSum = 384, kTileColumnPanels = 4;
// Half of this, some 2 us, is still worth handing out to a thread that is awake; more tiles than
// this says are not.
constexpr int64_t kTileMacs = 16 * 1024 * kLanes;
// Rows in the time that reading B takes, of floats and of smaller types. Grids of rows alike have
// to be those of one row.
constexpr int64_t kReadRows = 4, kReadRowsSmall = 12;
static_assert(kAlikeRows <= kReadRows && kAlikeRows <= kPanelRows);
// Enough tiles that 16 threads end at about the same time.
constexpr int64_t kTiles = 40;
constexpr int64_t kDirectFloats = 4 * 1024;  // B stays in half of L1 however its rows fall
// Rows that read B before a copy is worth it, in panels, where a step of k hides no misses, and the
// floats between rows or columns that then share too few sets of the L1.
constexpr int64_t kReaders = kLanes == 16 ? 8 : 3, kCollidingFloats = 512;
constexpr int64_t kStreamReaders = 2;  // the same where B comes from beyond the L2
// Panels of few rows that still have sums enough for the FMAs.
constexpr int kFewRows = 4;
// Sums this short cost little more than their first and last steps, which overlap with their
// neighbours' as far as the processor looks ahead: panels of fewer rows need fewer instructions.
constexpr int64_t kShortSum = 256;
constexpr int kShortSumRows = 8;
constexpr int64_t kWideDirectSum = 512;
// B that a tile packs for itself: a good part of L2, and all of a small matrix.
constexpr int64_t kLocalFloats = 96 * 1024, kLocalSmall = 16 * 1024;
constexpr int64_t kLocalTiles = 8, kLocalRowPanels = 20, kFewRowPanels = 4;
// Columns of A: floats between them and how many there are before they no longer stay in the L1,
// and columns of B.
constexpr int64_t kFarFloats = 128, kFarRows = 64, kWorthCopying = 96;
// Panels of B that tiles which pack A divide among them.
constexpr int64_t kDividedPanels = 8;
// Words of a packed panel of A that the L1 holds beside what else passes through it.
constexpr int64_t kLongestPacked = 256;
// Tiles of C where each has to round or split its rows of A, which takes a good part of the time.
constexpr int64_t kRoundingTiles = 16;
// Products of floats that are split: words of k whose sums stay in tiles; panels of A that the
// columns of B are split for by each tile for itself; and floats of rows of A that are split
// before.
constexpr int64_t kSplitSum = 256, kSplitRowPanels = 8, kSplitFirst = 256 * 1024;
constexpr int64_t kPackTileFloats = 16 * 1024, kPackWords = 16, kPackTiles = 4;
constexpr int64_t kDotRows = 8, kDotRowsLong = 64, kDotColumns = 4;

// A batch that walks through A and C as further rows is one product with more rows.
void fold_batch(GemmDesc& d) {
  if (d.row_bias) return;
  for (int i = 1; i >= 0; --i) {
    if (d.batch[i] <= 1 || (i == 0 && d.batch[1] > 1)) continue;
    if (d.b_batch[i] != 0 || d.a_batch[i] != d.m * d.a_row || d.c_batch[i] != d.m * d.c_row) break;
    d.m *= d.batch[i];
    d.batch[i] = 1;
  }
}

// Floats that take as much memory as so many packed words of B, or a little more.
int64_t word_floats(const GemmDesc& d, int64_t words) {
  return d.kernels->splits ? words * d.kernels->b_word / 4 : words;
}

// Whether a step of k takes as long as loads from the L2.
bool hides_misses(const GemmDesc& d) { return d.units == GEMM_UNITS_SPLIT; }

// Rows of B after which a copy of it is faster than B where it is.
int64_t direct_rows(const GemmDesc& d) {
  // Where rows of B collide, the L2 misses too.
  if (d.b_row % 1024 == 0 && d.k >= 64) return 3;
  // What passes the L2 comes fastest in the order of a copy, which a few panels of rows pay.
  if (d.b_streams && !hides_misses(d) && d.k * d.n > kL2Floats) return kStreamReaders * kPanelRows;
  const bool small = kLanes == 16 && d.b_row % kCollidingFloats != 0 && d.k * d.n <= kL2Floats;
  return small || hides_misses(d) ? d.m : kReaders * kPanelRows;
}

GemmSource choose_source(const GemmDesc& d) {
  if (d.b_packed || d.type != GEMM_F32) return GEMM_B_PACKED;
  if (d.b_row == 1 && d.a_col == 1 && !d.one_block && !d.row_bias) {
    // Adding up the lanes at the end is what a dot product costs: little if k is long, while a
    // packed B has to be used by many rows to be worth it.
    if (d.m <= kDotRows || d.n <= kDotColumns) return GEMM_B_DOT;
    if (d.m <= kDotRowsLong && 8 * d.m <= d.k) return GEMM_B_DOT;
  }
  if (d.b_col == 1) {
    // Vectors of B are as good where they are if a step of k hides the misses of the L1 that come
    // with them, or if too few rows read them to be worth a copy.
    if (d.m <= direct_rows(d) || d.k * d.n <= kDirectFloats) return GEMM_B_DIRECT;
  }
  return GEMM_B_PACKED;
}

// Rows that lie a multiple of 4 KiB apart fall in one set of the L1: those that would take more
// than half of its ways are evicted by each other and by what passes through. Columns of A are as
// many as k is long. Others are as good where they are.
bool rows_collide(const GemmPlan& p) {
  const GemmDesc& d = p.desc;
  const bool collide = (d.a_col == 1 ? d.a_row : d.a_col) * operand_bytes(d) % 4096 == 0;
  const bool evict = d.a_col != 1 || 2 * d.kernels->panel_rows > d.l1_ways;
  return collide && evict && p.k_words >= 64 && d.m > 7;
}

// A few rows with four vectors of columns need no copy of rows that collide: the ways of a set hold
// them all.
bool few_rows_do(const GemmPlan& p) {
  const GemmDesc& d = p.desc;
  return d.a_col == 1 && d.n >= 4 * kLanes && d.kernels->wide4_rows >= kFewRows;
}

// Whether the columns of B fill four vectors and six rows of those are faster than fourteen of two:
// they take fewer instructions a product, which threads that share a core feel. What they fetch of
// B more often is too much where B is far apart in long sums, and where a copy that few rows have
// paid for is all that short ones read. Multiply-adds in halves hide both.
bool fills_wide_columns(const GemmPlan& p) {
  const GemmDesc& d = p.desc;
  if (kLanes != 16 || d.units != GEMM_UNITS_WHOLE || d.type != GEMM_F32) return false;
  if (d.n % (4 * kLanes) != 0 || p.source == GEMM_B_DOT) return false;
  if (p.source == GEMM_B_DIRECT) return p.k_words <= kWideDirectSum;
  if (d.a_col != 1 || d.one_block || p.k_words >= kLongestSum) return false;
  return d.b_packed || p.k_words > kShortSum;
}

int64_t choose_panel_rows(const GemmPlan& p) {
  const GemmKernels& kernels = *p.desc.kernels;
  if (kernels.wide4_rows == 0) return kernels.panel_rows;
  if (rows_collide(p) && few_rows_do(p)) return kernels.wide4_rows;
  if (p.source == GEMM_B_DIRECT && fills_wide_columns(p)) return kernels.wide4_rows;
  const bool fewer = p.desc.units == GEMM_UNITS_SPLIT && p.k_words <= kShortSum;
  return fewer ? least(kernels.best_rows, kShortSumRows) : kernels.best_rows;
}

// Copies of B: panels of six rows where no block of columns ends within four vectors.
void narrow_panels(GemmPlan& p) {
  if (p.source == GEMM_B_DIRECT || !fills_wide_columns(p)) return;
  const int64_t pairs = p.col_panels / 2;
  if (p.source == GEMM_B_PACKED) {
    const int64_t tiles = p.row_blocks.count * p.col_blocks.count;
    while (pairs % p.col_blocks.count != 0) --p.col_blocks.count;
    p.row_blocks.count = least(ceil_div(tiles, p.col_blocks.count), p.row_panels.count);
  }
  if (pairs % p.col_blocks.count == 0)
    p.row_panels.count = ceil_div(p.desc.m, p.desc.kernels->wide4_rows);
}

// Whether columns of A miss the L1 and the FMAs wait for them, and many columns of B pay for a
// copy.
bool columns_wait(const GemmPlan& p) {
  const GemmDesc& d = p.desc;
  const bool far = d.a_col >= kFarFloats && p.k_words >= kFarRows;
  if (!far || p.col_panels * kPanelColumns <= kWorthCopying || hides_misses(d)) return false;
  // More sums hide more, as long as the columns do not evict each other.
  return kLanes != 16 || d.a_col % kCollidingFloats == 0 || d.m * d.k > kL2Floats;
}

// Columns of A that are rounded, and lie side by side in memory, are read from end to end: panel by
// panel they would be as many short pieces.
bool packs_a_first(const GemmPlan& p) {
  const GemmDesc& d = p.desc;
  const bool one = d.batch[0] * d.batch[1] == 1;
  const bool packs = d.kernels->a_panels || packs_tiles(d);
  return d.from_float && d.pack_a_first && d.a_col != 1 && packs && one && !splits_alone(d);
}

// Rows that several parts of the columns would split, each for itself.
bool may_pack_rows_first(const GemmDesc& d) {
  const bool one = d.batch[0] * d.batch[1] == 1;
  const bool rows = d.a_col == 1 && d.m * d.k <= kSplitFirst;
  return d.kernels->splits && d.pack_a_first && rows && one && !splits_alone(d);
}
bool packs_rows_first(const GemmPlan& p) {
  return may_pack_rows_first(p.desc) && p.col_blocks.count > 2;
}

// Each tile packs its columns of A for itself, some words of k at a time: one core reads what
// another has just written much more slowly than what it has packed.
bool packs_a_block(const GemmPlan& p) {
  return p.desc.type == GEMM_F32 && p.desc.a_col != 1 && columns_wait(p);
}

bool has_whole_words(const GemmDesc& d) {
  return d.k % (d.kernels->group * d.kernels->k_step) == 0;
}

// Whether the last word of each row but the last one may be read with what follows the row: any
// bytes are nothing by the zeros that fill up B. (With bfloat16 NaN would not be.)
bool ends_in_next_row(const GemmDesc& d) {
  return d.type == GEMM_S8 && d.kernels->k_step == 1 && d.a_row >= d.kernels->group;
}

bool choose_pack_a(const GemmPlan& p) {
  const GemmDesc& d = p.desc;
  if (d.from_float) return true;
  const bool evict = rows_collide(p) && !few_rows_do(p);
  if (d.type == GEMM_F32) return p.pack_a_block || (evict && (d.a_col == 1 || p.col_panels > 4));
  // A kernel reads whole words of unsigned bytes or of bfloat16.
  const bool whole = has_whole_words(d) || ends_in_next_row(d) || d.kernels->k_step > 1;
  return !d.kernels->a_in_place || d.a_col != 1 || d.a_signed || !whole || evict;
}

// Kernels that keep sums wait for the L2 while rows of A come to the L1, for one panel of columns:
// others should follow.
int64_t most_column_blocks(const GemmPlan& p) {
  return p.desc.kernels->keeps_sums ? ceil_div(p.col_panels, kTileColumnPanels) : p.col_panels;
}

// Few panels of rows that are split once leave the columns of B to the tiles, which read no more of
// memory than B then.
bool choose_local_split(GemmPlan& p, int64_t wanted) {
  const bool once = packs_a_first(p) || may_pack_rows_first(p.desc);
  const bool fits = word_floats(p.desc, p.k_words) * kPanelColumns <= kLocalFloats;
  if (p.row_panels.count > kSplitRowPanels || !once || !fits || wanted < 3) return false;
  p.row_blocks.count = 1;
  p.col_blocks.count = least(p.col_panels, wanted);
  return true;
}

// Each tile splits its part of B, which many rows should share and the L2 hold.
void choose_split_grid(GemmPlan& p, int64_t wanted) {
  const int64_t b = p.col_panels * kPanelColumns * word_floats(p.desc, p.k_words);
  p.row_blocks.count = most(1, p.row_panels.count / kSplitRowPanels);
  p.col_blocks.count =
      least(p.col_panels, most(ceil_div(wanted, p.row_blocks.count), ceil_div(b, kL2Floats)));
}

// Whether there are tiles enough if each has all rows of some columns: A has to stay in the L2, by
// which it passes once for each of them.
bool packs_columns_once(const GemmPlan& p) {
  const GemmDesc& d = p.desc;
  return d.type == GEMM_F32 && !p.pack_a && p.col_panels >= kLocalTiles && d.m * d.k <= kL2Floats;
}

// Tiles that pack their own part of B have it in L2 when they read it, and need no stage before
// them. That is best while it happens once, or a few times for the sake of more tiles.
bool choose_local(GemmPlan& p, int64_t matrices, int64_t wanted) {
  const GemmDesc& d = p.desc;
  const bool small = p.k_words * d.n <= kLocalSmall;
  if (splits_alone(d)) {
    choose_alone(p);
    return true;
  }
  if (d.kernels->splits && (wanted > 1 || !small)) return choose_local_split(p, wanted);
  // Packing little is nothing beside many rows, unless those are rounded for each part of B.
  const bool few_tiles = small && !d.from_float && wanted <= kLocalTiles;
  if (p.k_words * kPanelColumns > kLocalFloats) return false;
  if (p.row_panels.count > kLocalRowPanels && !few_tiles && !packs_columns_once(p)) return false;
  // Each part of B has to copy A, and where A is packed before there is a stage for B as well.
  const bool copies = p.pack_a_block || (p.pack_a && d.type != GEMM_F32 && !d.from_float);
  if ((copies || packs_a_first(p)) && !small && p.row_panels.count > kFewRowPanels) return false;
  if (small && (wanted == 1 || matrices >= kLocalTiles)) {
    p.row_blocks.count = p.col_blocks.count = 1;
    return true;
  }
  const int64_t tiles = least(ceil_div(kLocalTiles, matrices), wanted);
  const int64_t fewest = ceil_div(p.col_panels * kPanelColumns * p.k_words, kLocalFloats);
  p.col_blocks.count = least(most_column_blocks(p), most(wanted, fewest));
  // Packing the same columns again takes longer than tiles take to multiply by them.
  const int64_t repeats = packs_tiles(d) ? 1 : most(1, p.row_panels.count / 4);
  p.row_blocks.count = least(ceil_div(tiles, p.col_blocks.count), repeats);
  return 2 * p.row_blocks.count * p.col_blocks.count >= (packs_tiles(d) ? wanted : tiles);
}

// How many tiles a matrix of the batch should become. Few rows take as long as reading B takes.
int64_t wanted_tiles(const GemmPlan& p, int64_t matrices) {
  const GemmDesc& d = p.desc;
  const double faster = d.kernels->steps_per_word < 1 ? d.kernels->steps_per_word : 1.0;
  const auto time = static_cast<int64_t>(static_cast<double>(d.m) * faster);
  const bool reads_fast = d.type == GEMM_F32 || packs_tiles(d);
  const int64_t rows = most(time, reads_fast ? kReadRows : kReadRowsSmall);
  const int64_t macs = rows * most(d.n, kLanes) * p.k_words;
  const bool rounds_rows = d.from_float && packs_tiles(d) && d.a_col == 1;
  const int64_t tiles = d.kernels->splits || rounds_rows ? kRoundingTiles : kTiles;
  const int64_t worth = least(ceil_div(tiles, matrices), ceil_div(macs, kTileMacs));
  if (matrices > 1) return most(1, worth);
  // An odd number of few tiles would leave one of two threads without its last one.
  return macs < kTileMacs ? 1 : worth < kLocalTiles ? round_up(worth, 2) : worth;
}

// The grid of blocks: `wanted` of them where the shape has them. Columns are split so that their
// part of B stays in L2, but A is read once per part, or copied.
void choose_grid(GemmPlan& p, int64_t wanted) {
  const bool packs_again = p.pack_a && !p.pack_a_block && !p.desc.kernels->splits;
  const int64_t l2_parts =
      ceil_div(p.col_panels * kPanelColumns * word_floats(p.desc, p.kc), kL2Floats);
  // One part of the columns: each thread would read what others have packed of B.
  const bool divides = p.pack_a_block && p.col_panels >= kDividedPanels;
  const int64_t parts = divides ? most(2, l2_parts) : l2_parts;
  const int64_t fewest = packs_again ? 1 : least(parts, p.col_panels);
  const int64_t limit = most(fewest, most_column_blocks(p));
  if (p.pack_a_block) {
    const int64_t tall = fewest * ceil_div(p.row_panels.count, kBlockPanels);
    wanted = least(wanted, most(kLocalTiles, tall));
  }
  // Kernels that keep sums wait for rows of A, and not for B; others for an A that has left the L2
  // when the next columns of B come.
  const GemmDesc& d = p.desc;
  const bool far = d.type == GEMM_F32 && !hides_misses(d) && d.m * d.k > kL2Floats;
  const int64_t read_a = p.pack_a || d.kernels->keeps_sums || far ? 16 : 4;
  int64_t best = -1;
  for (int64_t cols = fewest; cols <= limit && (best < 0 || cols <= wanted); ++cols) {
    const int64_t rows = least(ceil_div(wanted, cols), p.row_panels.count);
    // In register tiles per step of k: what the largest block does beyond the mean, per block;
    // reading A and B; and blocks that are missing.
    const int64_t work = p.col_panels * p.row_panels.count;
    const int64_t per_block = ceil_div(p.col_panels, cols) * ceil_div(p.row_panels.count, rows);
    const int64_t uneven = (per_block * rows * cols - work) * 8;
    const int64_t traffic = cols * p.row_panels.count * read_a + rows * p.col_panels * 4;
    const int64_t missing = most(0, wanted - rows * cols) * work;
    const int64_t cost = uneven + traffic + missing;
    if (best < 0 || cost < best) {
      best = cost;
      p.row_blocks.count = rows;
      p.col_blocks.count = cols;
    }
  }
}

// Of `words` words of k, how many kernels multiply.
int64_t filled_words(const GemmKernels& kernels, int64_t words) {
  if (kernels.fills_k || words == 0) return round_up(words, kernels.k_step);
  return most(words, kernels.k_step);
}

// Words of k, and the layout of a packed matrix of B.
void measure_words(GemmPlan& p) {
  const GemmDesc& d = p.desc;
  const GemmKernels& kernels = *d.kernels;
  p.k_words = filled_words(kernels, ceil_div(d.k, kernels.group));
  p.packed_words = p.source == GEMM_B_SPLIT ? d.k : p.k_words;
  const int64_t word = p.source == GEMM_B_SPLIT ? 4 : kernels.b_word;
  p.sums_at = round_up(p.packed_words * word * round_up(d.n, kLanes), 64);
  p.packed_bytes = p.sums_at + sums_bytes(d.type, round_up(d.n, kLanes));
  // Sums of floats are kept in C between steps of k, where other types could not keep them.
  const bool keeps = d.type != GEMM_S8 && d.c_type == GEMM_TO_F32;
  int64_t steps = keeps ? most(1, ceil_div(p.k_words, kLongestSum)) : 1;
  if (kernels.splits) steps = most(1, ceil_div(p.k_words, kSplitSum));
  if (kernels.keeps_sums) {
    const int64_t halves = d.m <= kernels.row_unit ? 2 : 1;  // half as many rows take half the L1
    steps = p.k_words <= halves * kLongestTileSum ? 1 : ceil_div(p.k_words, halves * kTileSum);
  }
  p.kc = most(1, round_up(ceil_div(p.k_words, steps), kernels.k_step));
}

// What a thread needs for its parts of B and A, and for rows that wait for their epilogue.
void measure_scratch(GemmPlan& p) {
  const GemmDesc& d = p.desc;
  const GemmKernels& kernels = *d.kernels;
  const int64_t columns =
      least(ceil_div(p.col_panels, p.col_blocks.count) * kPanelColumns, round_up(d.n, kLanes));
  int64_t local = 0;
  if (p.source == GEMM_B_LOCAL || p.source == GEMM_B_SPLIT)
    local = round_up(p.k_words * columns * kernels.b_word, 64) + sums_bytes(d.type, columns);
  if (p.pack_a || p.pack_last_a || p.pack_tail_a) {
    const bool rows =
        d.type != GEMM_F32 && !(kernels.a_panels && d.type == GEMM_BF16 && d.a_col != 1);
    // An odd number of cache lines, so that the rows spread over the sets of L1.
    p.a_stride = rows ? (ceil_div(p.kc * kernels.a_word, 64) | 1) * 64 : 0;
    const int64_t panels = p.row_blocks.size + (p.row_blocks.longer > 0 ? 1 : 0);
    p.stage_at = rows ? kernels.panel_rows * p.a_stride : round_up(p.kc * kPackedRows * 4, 64);
    if (p.pack_a_block) p.stage_at = least(panels, kBlockPanels) * panel_bytes(p.kc);
    if (p.pack_a_tiles > 0) p.stage_at = 0;
  }
  p.sums_kept_at = p.stage_at;
  if (kernels.keeps_sums && p.kc < p.k_words)
    p.stage_at += kernels.panel_rows * round_up(columns, kPanelColumns) * 4;
  p.state_at = p.stage_at;
  p.stage_at += round_up(kernels.state_bytes, 64);
  if (d.c_type != GEMM_TO_F32) p.stage_columns = columns;
  p.row_bias_at = p.stage_at + (kernels.panel_rows + 1) * p.stage_columns * 4;
  p.scratch_bytes = local + p.row_bias_at;
  if (d.row_bias) p.scratch_bytes += int64_t{4} * kernels.panel_rows * kWidestColumns;
}

}  // namespace

const GemmKernels* best_kernels(GemmType type) {
  const GemmKernels* const* all = gemm_kernels(type);
  while (!(*all)->available()) ++all;
  return *all;
}

namespace {

const GemmKernels* choose_kernels(const GemmDesc& d) {
  if (const GemmKernels* splitting = splitting_kernels(d)) return splitting;
  const GemmKernels* best = best_kernels(d.type);
  const bool few = d.m <= best->few_rows || ceil_div(d.k, best->group) < best->k_step;
  return best->for_few_rows && few ? best->for_few_rows : best;
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

  d.a_signed = d.a_signed && d.type == GEMM_S8;
  // Whatever the rows, the layout of a packed B is the same: that of floats.
  const bool splits_packed = !d.kernels && d.b_packed && splitting_kernels(d) != nullptr;
  if (!d.kernels) d.kernels = choose_kernels(d);
  if (d.kernels->splits) {
    d.type = GEMM_BF16;
    d.from_float = true;
  }
  if (d.units == GEMM_UNITS_DETECTED)
    d.units = kLanes == 16 && splits_avx512() ? GEMM_UNITS_SPLIT : GEMM_UNITS_WHOLE;
  if (d.l1_ways == 0) d.l1_ways = l1_ways();
  const int64_t matrices = d.batch[0] * d.batch[1];
  p.b_matrices = (d.b_batch[0] != 0 ? d.batch[0] : 1) * (d.b_batch[1] != 0 ? d.batch[1] : 1);
  p.row_unit = d.kernels->row_unit;
  p.source = splits_packed ? GEMM_B_SPLIT : choose_source(d);
  measure_words(p);
  if (d.m == 0 || d.n == 0 || matrices == 0) return p;

  p.row_panels.count = p.source == GEMM_B_DOT ? 1 : ceil_div(d.m, choose_panel_rows(p));
  p.col_panels = ceil_div(d.n, kPanelColumns);
  p.row_blocks.count = p.col_blocks.count = 1;
  p.pack_a_block = packs_a_block(p);
  p.pack_a = p.source != GEMM_B_DOT && choose_pack_a(p);
  if (p.pack_a_block) p.kc = ceil_div(p.k_words, ceil_div(p.k_words, kLongestPacked));
  const bool reads_words = p.source != GEMM_B_DOT && !p.pack_a && d.type != GEMM_F32;
  p.pack_tail_a = reads_words && d.kernels->k_step > 1 && !has_whole_words(d);
  p.pack_last_a = reads_words && (d.m % p.row_unit != 0 || (!p.pack_tail_a && !has_whole_words(d)));
  p.rows_alike = d.b_packed && d.kernels->alike && d.m > 1 && d.m <= kAlikeRows;
  const int64_t wanted = wanted_tiles(p, matrices);
  if (p.source == GEMM_B_DOT) {
    if (d.n <= kDotColumns) p.row_panels.count = ceil_div(d.m, kDotRows);
    p.row_blocks.count = least(wanted, p.row_panels.count);
    p.col_blocks.count = least(ceil_div(wanted, p.row_blocks.count), p.col_panels);
  } else if (p.source == GEMM_B_SPLIT) {
    if (!d.one_block) choose_split_grid(p, wanted);
  } else if (d.one_block) {
    if (p.source == GEMM_B_PACKED && !d.b_packed) p.source = GEMM_B_LOCAL;
  } else if (p.source == GEMM_B_PACKED && !d.b_packed && choose_local(p, matrices, wanted)) {
    p.source = GEMM_B_LOCAL;
  } else {
    choose_grid(p, wanted);
  }
  narrow_panels(p);
  p.row_panels = cut(ceil_div(d.m, p.row_unit), p.row_panels.count);
  p.row_blocks = cut(p.source == GEMM_B_DOT ? d.m : p.row_panels.count, p.row_blocks.count);
  p.col_blocks = cut(p.col_panels, p.col_blocks.count);
  p.compute_tiles = matrices * p.row_blocks.count * p.col_blocks.count;
  if (packs_a_first(p)) {
    p.pack_a_k = kPackWords;
    p.pack_a_tiles = ceil_div(p.k_words, p.pack_a_k);
    p.packed_a_bytes = p.row_panels.count * packed_a_panel(p);
  }
  if (packs_rows_first(p)) {
    p.pack_a_tiles = p.row_panels.count;
    p.packed_a_bytes = p.row_panels.count * packed_a_panel(p);
  }
  measure_scratch(p);

  if ((p.source == GEMM_B_PACKED || p.source == GEMM_B_SPLIT) && d.k > 0) {
    p.packed_b_bytes = p.b_matrices * p.packed_bytes;
    // Long pieces of the rows that B has in memory, of k or of n; sums of columns need all of k.
    const bool whole = d.type != GEMM_F32 && !d.from_float;
    p.pack_k = whole ? p.k_words : least(p.packed_words, d.b_col == 1 ? 256 : 1024);
    // Few tiles would be one thread's while others wait.
    const int64_t fit = kPackTileFloats / (kPanelColumns * p.pack_k);
    p.pack_panels = most(1, whole ? least(fit, ceil_div(p.col_panels, kPackTiles)) : fit);
    if (p.source == GEMM_B_PACKED && d.from_float && d.b_row != 1) {
      // Whole rows as far as they go, since pairs of them are read together.
      p.pack_panels = least(p.col_panels, kPackTileFloats / kPanelColumns / 8);
      const int64_t fitting = kPackTileFloats / kPanelColumns / p.pack_panels;
      p.pack_k = least(p.k_words, round_up(fitting, d.kernels->k_step));
    }
    p.pack_tiles =
        p.b_matrices * ceil_div(p.col_panels, p.pack_panels) * ceil_div(p.packed_words, p.pack_k);
  }
  return p;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
