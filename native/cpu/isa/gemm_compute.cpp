// One tile of a matrix product: a block of C, summed over k in steps, then the epilogue.
#include "cpu/isa/gemm_kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

struct Block {
  int64_t i0, i1;  // row panels, or rows of a dot product
  int64_t j0, j1;  // columns
  const float* a;
  const float* b;     // the matrix, or packed panels
  int64_t packed_j0;  // first column of those
  float* c;
  float* pre;
  const float* saved;
};

// The parts of the epilogue that work on whole rows, while they are in L1.
void finish_rows(const GemmPlan& plan, const Block& t, const GemmEpilogue& e, int64_t row,
                 int64_t rows) {
  const int64_t n = t.j1 - t.j0;
  for (int64_t i = row; i < row + rows; ++i) {
    const int64_t at = i * plan.desc.c_row + t.j0;
    float* c = t.c + at;
    const float* value = t.pre ? t.pre + at : c;
    if (e.activation == GEMM_ACT_APPLY) {
      e.apply(value, nullptr, c, n, e.params);
    } else if (value != c) {
      const Lanes floor = spread(e.activation == GEMM_ACT_RELU ? 0.0F : -__builtin_inff());
      int64_t j = 0;
      for (; j + kLanes <= n; j += kLanes) store(c + j, greater_of(floor, load_lanes(value + j)));
      const int left = static_cast<int>(n - j);
      if (left > 0) store_lanes(c + j, greater_of(floor, load_lanes(value + j, left)), left);
    }
    if (e.apply_grad) e.apply_grad(c, t.saved + at, c, n, e.params);
  }
}

bool needs_rows(const Block& t, const GemmEpilogue& e) {
  return t.pre || e.activation == GEMM_ACT_APPLY || e.apply_grad;
}

// Index into kMicroKernels: the widest kernel for this height that the columns fill. Columns
// read in place must all exist, except with a width of one vector.
int choose_width(int64_t rows, int64_t left, bool padded) {
  if (rows <= kWide8Rows && left >= 8 * kLanes) return 3;
  if (rows <= kWide4Rows && left >= 4 * kLanes) return 2;
  return left >= 2 * kLanes || (padded && left > kLanes) ? 1 : 0;
}

void compute_block(const GemmPlan& plan, const Block& t, const GemmEpilogue& e, float* scratch) {
  const GemmDesc& d = plan.desc;
  const bool padded = plan.source != GEMM_B_DIRECT;
  // A value that is kept before its activation is summed up where it is kept.
  float* sum = t.pre ? t.pre : t.c;
  const bool rows_after = needs_rows(t, e);
  MicroArgs args = {};
  args.c_row = d.c_row;

  int64_t k0 = 0;
  do {
    const int64_t kc = least(plan.kc, d.k - k0);
    const bool last = k0 + kc >= d.k;
    const float* add = k0 > 0 ? sum : d.accumulate ? t.c : nullptr;
    args.k = kc;
    args.floor = last && e.activation == GEMM_ACT_RELU && !t.pre ? 0.0F : -__builtin_inff();
    for (int64_t panel = t.i0; panel < t.i1; ++panel) {
      const int64_t row = part_start(d.m, plan.row_panels, panel);
      const int64_t rows = part_start(d.m, plan.row_panels, panel + 1) - row;
      args.a = t.a + row * d.a_row + k0 * d.a_col;
      args.a_row = d.a_row;
      args.a_k = d.a_col;
      if (plan.pack_a) {
        pack_a_panel(args.a, d.a_row, d.a_col, rows, kc, scratch);
        args.a = scratch;
        args.a_row = 1;
        args.a_k = kPackedRows;
      }
      args.add_row = d.c_row;
      for (int64_t j = t.j0; j < t.j1;) {
        const int64_t left = t.j1 - j;
        const int width = choose_width(rows, left, padded);
        if (padded) {
          args.b_k = left > kLanes ? kPanelColumns : kLanes;
          args.b_pair = kPanelColumns * d.k;
          args.b = t.b + (j - t.packed_j0) * d.k + k0 * args.b_k;
        } else {
          args.b_k = d.b_row;
          args.b_pair = kPanelColumns;
          args.b = t.b + j + k0 * d.b_row;
        }
        args.columns = static_cast<int>(least(left, int64_t{kLanes} << width));
        args.c = sum + row * d.c_row + j;
        args.add = add ? add + row * d.c_row + j : nullptr;
        args.bias = last && e.bias ? e.bias + j : nullptr;
        kMicroKernels[width][rows - 1](args);
        j += args.columns;
      }
      if (last && rows_after) finish_rows(plan, t, e, row, rows);
    }
    k0 += kc;
  } while (k0 < d.k);
}

void compute_dots(const GemmPlan& plan, const Block& t, const GemmEpilogue& e) {
  const GemmDesc& d = plan.desc;
  float* sum = t.pre ? t.pre : t.c;
  const int64_t rows = t.i1 - t.i0, columns = t.j1 - t.j0;
  const int64_t at = t.i0 * d.c_row + t.j0;
  dot_block(t.a + t.i0 * d.a_row, d.a_row, rows, t.b + t.j0 * d.b_col, d.b_col, columns, d.k,
            d.accumulate ? t.c + at : nullptr, d.c_row, sum + at, d.c_row);
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

}  // namespace

void gemm_compute(const GemmPlan& plan, const float* a, const float* b, float* c,
                  const GemmEpilogue& e, int64_t tile, void* scratch) {
  const GemmDesc& d = plan.desc;
  const int64_t grid = plan.row_blocks * plan.col_blocks;
  const int64_t matrix = tile / grid;
  const int64_t outer = matrix / d.batch[1], inner = matrix % d.batch[1];
  const int64_t in_grid = tile % grid;
  // Neighbouring tiles share their columns of B.
  const int64_t col = in_grid / plan.row_blocks, row = in_grid % plan.row_blocks;
  const int64_t c_at = outer * d.c_batch[0] + inner * d.c_batch[1];
  float* free_scratch = static_cast<float*>(scratch);

  Block t = {};
  t.j0 = part_start(plan.col_panels, plan.col_blocks, col) * kPanelColumns;
  t.j1 = least(part_start(plan.col_panels, plan.col_blocks, col + 1) * kPanelColumns, d.n);
  t.a = a + outer * d.a_batch[0] + inner * d.a_batch[1];
  t.c = c + c_at;
  t.pre = e.pre ? e.pre + c_at : nullptr;
  t.saved = e.saved ? e.saved + c_at : nullptr;
  if (plan.source == GEMM_B_PACKED) {
    const int64_t inners = d.b_batch[1] != 0 ? d.batch[1] : 1;
    const int64_t packed =
        (d.b_batch[0] != 0 ? outer * inners : 0) + (d.b_batch[1] != 0 ? inner : 0);
    t.b = b + packed * plan.packed_floats;
  } else {
    t.b = b + outer * d.b_batch[0] + inner * d.b_batch[1];
  }

  if (plan.source == GEMM_B_DOT) {
    t.i0 = part_start(d.m, plan.row_blocks, row);
    t.i1 = part_start(d.m, plan.row_blocks, row + 1);
    compute_dots(plan, t, e);
    return;
  }
  t.i0 = part_start(plan.row_panels, plan.row_blocks, row);
  t.i1 = part_start(plan.row_panels, plan.row_blocks, row + 1);
  if (plan.source == GEMM_B_LOCAL) {
    const int64_t n = t.j1 - t.j0;
    pack_b_panels(t.b + t.j0 * d.b_col, d.b_row, d.b_col, n, d.k, 0, ceil_div(n, kPanelColumns), 0,
                  d.k, free_scratch);
    t.b = free_scratch;
    t.packed_j0 = t.j0;
    free_scratch += ceil_div(n, kLanes) * kLanes * d.k;
  }
  compute_block(plan, t, e, free_scratch);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
