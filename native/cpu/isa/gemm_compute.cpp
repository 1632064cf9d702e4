// One tile of a matrix product: a block of C, summed over k in steps, then the epilogue.
#include "cpu/isa/gemm_rows.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

// Index into the kernels of a family: the widest for this height that the columns fill. Columns
// read in place must all exist, except with a width of one vector.
int choose_width(const GemmKernels& kernels, int64_t rows, int64_t left, bool padded) {
  if (rows <= kernels.wide8_rows && left >= 8 * kLanes) return 3;
  if (rows <= kernels.wide4_rows && left >= 4 * kLanes) return 2;
  return left >= 2 * kLanes || (padded && left > kLanes) ? 1 : 0;
}

// Without k there is one word of zeros, for kernels that multiply at least once: of as many parts
// as words have.
void place_nothing(MicroArgs& args) {
  alignas(64) static constexpr char kZeros[3 * kPanelColumns * 4] = {};
  args.a = args.b = args.next = kZeros;
  args.tail = nullptr;
  args.a_row = args.a_k = args.b_pair = args.b_k = args.next_k = 0;
  args.k = 1;
}

// What stays the same for all pieces of a block.
MicroArgs block_args(const GemmPlan& plan, const GemmEpilogue& e, GemmElement c_type) {
  const GemmDesc& d = plan.desc;
  MicroArgs args = {};
  args.c_type = c_type;
  args.c_row = d.c_row * element_bytes(c_type);
  args.add_bf16 = d.c_type == GEMM_TO_BF16;
  // Without k there are no sums of columns to correct by, and nothing to correct.
  args.a_zero = d.k > 0 ? e.a_zero + (d.a_signed ? 128 : 0) : 0;
  args.c_inverse = e.c_inverse;
  args.c_zero = e.c_zero;
  return args;
}

// Copies `words` words of the rows of a panel, from element `a` on, of which there are `k`.
void pack_rows(const GemmPlan& plan, const char* a, int64_t rows, int64_t k, int64_t words,
               char* packed) {
  const GemmDesc& d = plan.desc;
  if (d.type == GEMM_F32)
    pack_a_panel(a, d.a_row, d.a_col, rows, words, packed);
  else if (d.from_float)
    round_a_panel(plan, reinterpret_cast<const float*>(a), rows, k, words, packed);
  else
    pack_a_words(plan, a, rows, k, words, packed);
}

// The last step of the rows of a panel, of which there are `k` elements from `a` on and `words`
// words: behind zeros for those that have been multiplied.
void pack_tail(const GemmPlan& plan, const char* a, int64_t rows, int64_t k, int64_t words,
               char* packed, MicroArgs& args) {
  const int64_t back = plan.desc.kernels->k_step - words;
  args.tail = packed;
  args.tail_row = plan.a_stride;
  args.tail_back = back;
  pack_rows(plan, a, rows, k, words, packed + back * 4);
  if (back == 0) return;
  for (int64_t i = 0; i < rows; ++i)
    std::memset(packed + i * plan.a_stride, 0, static_cast<size_t>(back * 4));
}

// Where the rows of a panel of A are read, whose words from k0 on are wanted: in place, or packed
// before or here.
void place_a(const GemmPlan& plan, const GemmBlock& t, int64_t panel, int64_t k0, char* packed,
             MicroArgs& args) {
  const GemmDesc& d = plan.desc;
  const int64_t bytes = operand_bytes(d), group = d.kernels->group, step = d.kernels->k_step;
  const int64_t k = least(d.k - k0 * group, args.k * group), rows = args.rows;
  const char* a = t.a + (panel_row(plan, panel) * d.a_row + k0 * group * d.a_col) * bytes;
  args.a = a;
  args.a_row = d.a_row * bytes;
  args.a_k = d.type == GEMM_F32 ? d.a_col * 4 : d.kernels->a_word;
  args.tail = nullptr;
  const bool is_last = panel + 1 == plan.row_panels.count, before = plan.pack_a_tiles > 0;
  const bool packs = plan.pack_a || (plan.pack_last_a && is_last);
  const int64_t words = args.k;
  if (step > 1 && !before && !d.from_float)
    args.k = k / (group * step) * step;  // the others are the tail
  if (packs) {
    if (before && packs_tiles(d)) {
      args.a_row = kLanes * d.kernels->a_word;
      args.a_k = d.kernels->panel_rows * d.kernels->a_word;
    } else if (plan.a_stride > 0) {
      args.a_row = plan.a_stride;
      args.a_k = d.kernels->a_word;
    } else {
      args.a_row = 4;
      args.a_k = kPackedRows * 4;
    }
    if (before) {
      args.a = t.a + panel * packed_a_panel(plan) + k0 * args.a_k;
    } else if (plan.pack_a_block) {
      const int64_t place = (panel - t.i0) % kBlockPanels, size = panel_bytes(plan.kc);
      const int64_t end = least(panel + kBlockPanels, t.i1);
      if (place == 0) pack_a_panels(plan, t.a, panel, end, k0, args.k, packed, size);
      args.a = packed + place * size;
    } else {
      args.a = packed;
      pack_rows(plan, a, rows, least(k, args.k * group), args.k, packed);
    }
  }
  if (args.k < words)
    pack_tail(plan, a + args.k * group * d.a_col * bytes, rows, k - args.k * group, words - args.k,
              packs ? packed + args.k * 4 : packed, args);
}

// Lets the next panel of A come into the L2 while this one is multiplied by the columns from j on.
// Columns of A lie too far apart for the processor to see what comes next; the line of the last row
// is the only one that this panel has not brought. Rows that are packed are read at once, each by a
// short way.
void place_next(const GemmPlan& plan, const GemmBlock& t, int64_t panel, int64_t j,
                MicroArgs& args) {
  const GemmDesc& d = plan.desc;
  const bool copied_rows = plan.pack_a && d.a_col == 1 && args.k == plan.k_words;
  const bool columns = !plan.pack_a && d.a_row == 1 && j + args.columns >= t.j1;
  if ((!copied_rows && !columns) || panel + 1 >= t.i1) return;
  const int64_t first = panel_row(plan, panel + 1), end = panel_row(plan, panel + 2);
  if (columns) {
    args.next = args.a + (end - 1 - panel_row(plan, panel)) * args.a_row;
    args.next_k = args.a_k;
    return;
  }
  // Each piece of columns brings as many lines as it has words.
  const int64_t row = d.a_row * operand_bytes(d), at = (j - t.j0) / kPanelColumns * args.k * 64;
  if (at >= (end - first) * row) return;
  args.next = t.a + first * row + at;
  args.next_k = 64;
}

// The words of packed B that are read after those of this step come into the L2 while the last
// panels are multiplied, which bring a line a word; behind the last step the tile that follows
// begins anew.
void place_next_b(const GemmPlan& plan, const GemmBlock& t, int64_t panel, int64_t k0,
                  MicroArgs& args) {
  const int64_t turn = panel - (t.i1 - ceil_div(args.b_k, 64));
  if (plan.source != GEMM_B_PACKED || args.k == plan.k_words || turn < 0) return;
  const int64_t words = k0 + args.k < plan.k_words ? args.k : -k0;
  args.next = args.b + words * args.b_k + turn * args.k * 64;
  args.next_k = 64;
}

// Sums of row i start at bias[i]: as if that were in C already.
void spread_row_bias(const float* bias, int64_t rows, float* out) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < kWidestColumns; j += kLanes)
      store(out + i * kWidestColumns + j, spread(bias[i]));
}

// A block on its way through k: what its panels share.
struct Run {
  const GemmPlan& plan;
  const GemmBlock& t;
  const GemmEpilogue& e;
  char* scratch;
  bool rows_after, staged;
  char* sum;  // a value that is kept before its activation is summed up where it is kept
};

// The columns of B from j on, whose words from k0 on are wanted.
void place_b(const GemmPlan& plan, const GemmBlock& t, int64_t j, int64_t k0, MicroArgs& args) {
  const int64_t word = plan.desc.kernels->b_word;
  if (plan.source != GEMM_B_DIRECT) {
    args.b_k = (t.j1 - j > kLanes ? kPanelColumns : kLanes) * word;
    args.b_pair = kPanelColumns * plan.k_words * word;
    args.b = t.b + (j - t.packed_j0) * plan.k_words * word + k0 * args.b_k;
  } else {
    args.b_k = plan.desc.b_row * word;
    args.b_pair = kPanelColumns * word;
    args.b = t.b + j * word + k0 * args.b_k;
  }
}

// Floats that are read where they are and summed up in one step, with an epilogue of columns alone:
// of what a panel of A needs, so little is left that small products feel the rest.
bool is_plain(const GemmPlan& plan, const GemmEpilogue& e) {
  const GemmDesc& d = plan.desc;
  const bool in_place = d.type == GEMM_F32 && !plan.pack_a && !plan.rows_alike;
  const bool by_columns = !e.row_bias && !e.row_scale && !e.row_zero && !e.column_zero && !e.scale;
  return in_place && by_columns && d.k > 0 && plan.kc >= plan.k_words && d.c_type == GEMM_TO_F32;
}

// What else than floats in one step needs of a panel's rows.
void place_rows(const Run& r, MicroArgs& args, int64_t panel, int64_t k0, int64_t row) {
  const GemmEpilogue& e = r.e;
  place_a(r.plan, r.t, panel, k0, r.scratch, args);
  const int64_t in_batch = r.t.first_row + row;
  args.row_scale = e.row_scale ? e.row_scale + in_batch : nullptr;
  args.row_zero = e.row_zero && r.plan.desc.k > 0 ? e.row_zero + in_batch : nullptr;
  args.row_sums = e.column_zero ? e.row_sums + in_batch : nullptr;
}

// The same of its columns.
void place_columns(const Run& r, MicroArgs& args, int64_t j) {
  const GemmEpilogue& e = r.e;
  const GemmBlock& t = r.t;
  args.scale = e.scale ? e.scale + j : nullptr;
  args.column_zero = e.column_zero ? e.column_zero + j : nullptr;
  args.sums = t.sums ? t.sums + (j - t.packed_j0) : nullptr;
  args.short_sums = e.short_sums ? e.short_sums + j : nullptr;
}

// The words of k from k0 on for a panel of A.
template <bool plain>
TANDEM_INLINE void compute_panel(const Run& r, MicroArgs& args, int64_t panel, int64_t k0) {
  const GemmPlan& plan = r.plan;
  const GemmDesc& d = plan.desc;
  const GemmKernels& kernels = *d.kernels;
  const GemmBlock& t = r.t;
  const GemmEpilogue& e = r.e;
  const int64_t c_bytes = plain ? 4 : element_bytes(args.c_type);
  const int64_t d_bytes = plain ? 4 : element_bytes(d.c_type);
  const bool padded = plan.source != GEMM_B_DIRECT;
  const int64_t kc = plain ? plan.k_words : least(plan.kc, plan.k_words - k0);
  const bool first = plain || k0 == 0, last = plain || k0 + kc >= plan.k_words;
  // Sums that are kept meet what is added to them when they are complete.
  const bool meets = plain || (kernels.keeps_sums ? last : first);
  const char* add = !meets ? r.sum : d.accumulate ? t.c : t.residual;
  const bool starts = !plain && meets && e.row_bias;
  char* kept = nullptr;
  if (!plain && kernels.keeps_sums && !(first && last)) kept = r.scratch + plan.sums_kept_at;
  args.add_row = starts ? kWidestColumns * 4 : d.c_row * d_bytes;
  const int64_t row = panel_row(plan, panel), rows = panel_row(plan, panel + 1) - row;
  args.rows = static_cast<int>(rows);
  args.k = kc;
  if (starts)
    spread_row_bias(e.row_bias + row, rows, reinterpret_cast<float*>(r.scratch + plan.row_bias_at));
  if constexpr (plain)
    args.a = t.a + row * args.a_row;
  else
    place_rows(r, args, panel, k0, row);
  for (int64_t j = t.j0; j < t.j1;) {
    const int64_t left = t.j1 - j;
    const bool alike = !plain && plan.rows_alike;
    const int width = choose_width(kernels, alike ? 1 : rows, left, padded);
    place_b(plan, t, j, k0, args);
    const int64_t at = row * d.c_row + j;
    args.columns = static_cast<int>(least(left, int64_t{kLanes} << width));
    args.c = r.staged ? r.scratch + plan.stage_at + (j - t.j0) * 4 : r.sum + at * c_bytes;
    args.add = starts ? r.scratch + plan.row_bias_at : add ? add + at * d_bytes : nullptr;
    args.bias = last && e.bias ? e.bias + j : nullptr;
    if constexpr (!plain) place_columns(r, args, j);
    args.earlier = first ? nullptr : kept;
    args.later = last ? nullptr : kept;
    if (kept) kept += kernels.panel_rows * kPanelColumns * 4;
    args.next = args.a;
    args.next_k = 0;
    if (!plain || d.a_row == 1) place_next(plan, t, panel, j, args);
    if (!plain && args.next_k == 0) place_next_b(plan, t, panel, k0, args);
    if (!plain && plan.k_words == 0) place_nothing(args);
    if (alike)
      kernels.alike[width * kAlikeRows + rows - 1](args);
    else
      kernels.micro[width * kernels.panel_rows + rows - 1](args);
    j += args.columns;
  }
  if (!plain && kernels.settle) kernels.settle(args.state);
  // These epilogues read what the next panel overwrites, or what late ones write.
  if (!plain && kernels.flush && (starts || (last && r.rows_after))) kernels.flush(args.state);
  if (!last || !r.rows_after) return;
  if (r.staged)
    finish_staged_rows(plan, t, e, row, rows, reinterpret_cast<float*>(r.scratch + plan.stage_at));
  else
    finish_rows(plan, t, e, row, rows);
}

void compute_block(const GemmPlan& plan, const GemmBlock& t, const GemmEpilogue& e, char* scratch) {
  const GemmKernels& kernels = *plan.desc.kernels;
  const bool rows_after = needs_rows(t, e);
  const bool staged = rows_after && plan.desc.c_type != GEMM_TO_F32;
  const Run r = {plan, t, e, scratch, rows_after, staged, t.pre ? t.pre : t.c};
  MicroArgs args = block_args(plan, e, staged ? GEMM_TO_F32 : plan.desc.c_type);
  if (staged) args.c_row = plan.stage_columns * 4;
  const auto step = [&](int64_t k0) {
    const bool last = k0 + plan.kc >= plan.k_words;
    const bool relu = last && e.activation == GEMM_ACT_RELU && !t.pre && !staged;
    args.floor = relu_floor(relu);
    set_bounds(args, e, relu);
  };
  args.state = scratch + plan.state_at;
  if (is_plain(plan, e)) {
    step(0);
    args.a_row = plan.desc.a_row * 4;
    args.a_k = plan.desc.a_col * 4;
    for (int64_t panel = t.i0; panel < t.i1; ++panel) compute_panel<true>(r, args, panel, 0);
    return;
  }
  if (kernels.begin) kernels.begin(args.state);
  if (kernels.keeps_sums) {
    // The rows of a step stay in the L1 while the columns pass by.
    step(plan.k_words);
    for (int64_t panel = t.i0; panel < t.i1; ++panel)
      for (int64_t k0 = 0; k0 == 0 || k0 < plan.k_words; k0 += plan.kc)
        compute_panel<false>(r, args, panel, k0);
  } else {
    for (int64_t k0 = 0; k0 == 0 || k0 < plan.k_words; k0 += plan.kc) {
      step(k0);
      for (int64_t panel = t.i0; panel < t.i1; ++panel) compute_panel<false>(r, args, panel, k0);
    }
  }
  if (kernels.flush) kernels.flush(args.state);
  if (kernels.end) kernels.end();
}

void compute_dots(const GemmPlan& plan, const GemmBlock& t, const GemmEpilogue& e) {
  const GemmDesc& d = plan.desc;
  auto* sum = reinterpret_cast<float*>(t.pre ? t.pre : t.c);
  const int64_t rows = t.i1 - t.i0, columns = t.j1 - t.j0;
  const int64_t at = t.i0 * d.c_row + t.j0;
  const bool adds = d.accumulate || t.residual;
  const auto* add = reinterpret_cast<const float*>(d.accumulate ? t.c : t.residual);
  dot_block(reinterpret_cast<const float*>(t.a) + t.i0 * d.a_row, d.a_row, rows,
            reinterpret_cast<const float*>(t.b) + t.j0 * d.b_col, d.b_col, columns, d.k,
            adds ? add + at : nullptr, d.c_row, sum + at, d.c_row);
  const bool relu = e.activation == GEMM_ACT_RELU && !t.pre;
  if (e.bias || relu) {
    for (int64_t i = 0; i < rows; ++i) {
      float* row = sum + at + i * d.c_row;
      for (int64_t j = 0; j < columns; ++j) {
        const float v = e.bias ? row[j] + e.bias[t.j0 + j] : row[j];
        row[j] = relu && v < 0.0F ? 0.0F : v;
      }
    }
  }
  if (needs_rows(t, e)) finish_rows(plan, t, e, t.i0, rows);
}

// Where a tile is in the batch and in the grid of blocks. Neighbours share their columns of B.
struct Place {
  int64_t matrix, outer, inner, row, col;
};

Place place_of(const GemmPlan& plan, int64_t tile) {
  Place p = {};
  if (plan.compute_tiles == 1) return p;
  const int64_t rows = plan.row_blocks.count, grid = rows * plan.col_blocks.count;
  int64_t in_grid = tile;
  if (plan.compute_tiles != grid) {
    p.matrix = tile / grid;
    p.outer = p.matrix / plan.desc.batch[1];
    p.inner = p.matrix % plan.desc.batch[1];
    in_grid = tile % grid;
  }
  p.col = in_grid / rows;
  p.row = in_grid % rows;
  return p;
}

// Packed matrix of B for a place in the batch.
int64_t packed_index(const GemmDesc& d, int64_t outer, int64_t inner) {
  const int64_t inners = d.b_batch[1] != 0 ? d.batch[1] : 1;
  return (d.b_batch[0] != 0 ? outer * inners : 0) + (d.b_batch[1] != 0 ? inner : 0);
}

// Packs the columns of a block in scratch; returns what is left of it. `corrects`: sums of the
// columns are wanted.
char* pack_local(const GemmPlan& plan, GemmBlock& t, bool corrects, char* scratch) {
  const GemmDesc& d = plan.desc;
  const int64_t n = t.j1 - t.j0, panels = ceil_div(n, kPanelColumns);
  const int64_t columns = ceil_div(n, kLanes) * kLanes;
  const int64_t words = round_up(columns * plan.k_words * d.kernels->b_word, 64);
  const char* from = t.b + t.j0 * d.b_col * operand_bytes(d);
  auto* sums = reinterpret_cast<int32_t*>(scratch + words);
  if (plan.source == GEMM_B_SPLIT)
    round_packed_panels(plan, reinterpret_cast<const float*>(t.b) + t.j0 * d.k, n, scratch);
  else if (d.type == GEMM_F32)
    pack_b_panels(reinterpret_cast<const float*>(from), d.b_row, d.b_col, n, d.k, 0, panels, 0, d.k,
                  reinterpret_cast<float*>(scratch));
  else if (d.from_float)
    round_b_panels(plan, reinterpret_cast<const float*>(from), n, 0, panels, 0, plan.k_words,
                   scratch);
  else
    pack_b_words(plan, from, n, 0, panels, scratch, corrects ? sums : nullptr);
  t.b = scratch;
  t.sums = sums;
  t.packed_j0 = t.j0;
  return scratch + words + sums_bytes(d.type, columns);
}

}  // namespace

void gemm_compute(const GemmPlan& plan, const void* a, const void* b, void* c,
                  const GemmEpilogue& e, int64_t tile, void* scratch) {
  const GemmDesc& d = plan.desc;
  const Place place = place_of(plan, tile);
  const int64_t matrix = place.matrix, outer = place.outer, inner = place.inner;
  const int64_t col = place.col, row = place.row;
  const int64_t c_at = (outer * d.c_batch[0] + inner * d.c_batch[1]) * element_bytes(d.c_type);
  const int64_t bytes = operand_bytes(d);
  char* free_scratch = static_cast<char*>(scratch);

  GemmBlock t = {};
  t.j0 = part_start(plan.col_blocks, col) * kPanelColumns;
  t.j1 = least(part_start(plan.col_blocks, col + 1) * kPanelColumns, d.n);
  t.first_row = matrix * d.m;
  t.a = static_cast<const char*>(a) + (outer * d.a_batch[0] + inner * d.a_batch[1]) * bytes;
  t.c = static_cast<char*>(c) + c_at;
  t.pre = e.pre ? static_cast<char*>(e.pre) + c_at : nullptr;
  t.saved = e.saved ? static_cast<const char*>(e.saved) + c_at : nullptr;
  t.residual = e.residual ? static_cast<const char*>(e.residual) + c_at : nullptr;
  t.b = static_cast<const char*>(b);
  if (plan.source == GEMM_B_PACKED || plan.source == GEMM_B_SPLIT) {
    t.b += packed_index(d, outer, inner) * plan.packed_bytes;
    t.sums = e.sums ? e.sums : reinterpret_cast<const int32_t*>(t.b + plan.sums_at);
  } else {
    t.b += (outer * d.b_batch[0] + inner * d.b_batch[1]) * bytes;
  }

  t.i0 = part_start(plan.row_blocks, row);
  t.i1 = part_start(plan.row_blocks, row + 1);
  if (plan.source == GEMM_B_DOT) {
    compute_dots(plan, t, e);
    return;
  }
  if (plan.source == GEMM_B_LOCAL || plan.source == GEMM_B_SPLIT) {
    const bool corrects = d.type == GEMM_S8 && (d.a_signed || e.a_zero != 0 || e.row_zero);
    free_scratch = pack_local(plan, t, corrects, free_scratch);
  }
  compute_block(plan, t, e, free_scratch);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
