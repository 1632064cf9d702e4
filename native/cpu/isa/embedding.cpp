// embedding: rows of a table by number; tiles of rows of the result.
//
// embeddingGrad: the sums of the rows of dy by index. A counting sort writes the positions of each
// index one after the other, in rising order; then tiles of the table, cut in ranges of rows and of
// columns, each add up what belongs to them. Every row is written once, so nothing is zeroed
// before, and a sum's order follows from the indices alone.
#include "core/ops/embedding.h"

#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

// ---- embedding ---------------------------------------------------------------------------------

struct LookupParams {
  int64_t rows, count, dim, per_tile;
};

void lookup_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<LookupParams>(params);
  const auto* index = static_cast<const int32_t*>(operands[0]);
  const auto* table = static_cast<const uint32_t*>(operands[1]);
  auto* out = static_cast<uint32_t*>(operands[2]);
  constexpr uint32_t kNaN = 0x7fc00000;
  const Range range = piece(tile, p.per_tile, p.rows);
  for (int64_t i = range.begin; i < range.end; ++i) {
    const int64_t row = index[i];
    if (row >= 0 && row < p.count) {
      copy_words(out + i * p.dim, table + row * p.dim, p.dim);
    } else {
      for (int64_t j = 0; j < p.dim; ++j) out[i * p.dim + j] = kNaN;
    }
  }
}

// ---- its gradient ------------------------------------------------------------------------------

constexpr int64_t kColumns = 4 * kWidth > 64 ? 4 * kWidth : 64;  // of a tile: sums in registers
constexpr int64_t kBlock = 32;  // rows that are summed before they are added to a sum
constexpr int64_t kTiles = 64;  // wanted, about

struct ScatterParams {
  int64_t rows, count, dim;
  int64_t columns, column_blocks;  // of a tile, and of the table
  int64_t per_tile;                // rows of the table
  int32_t ends, order;             // operands
};

/// ends[i] becomes where the positions of index i end in `order`; they begin at ends[i - 1].
void sort_tile(const void* params, void* const* operands, int64_t, const TileContext&) {
  const auto& p = params_of<ScatterParams>(params);
  const auto* index = static_cast<const int32_t*>(operands[0]);
  auto* ends = static_cast<int64_t*>(operands[p.ends]);
  auto* order = static_cast<int64_t*>(operands[p.order]);
  const auto inside = [&](int64_t i) { return index[i] >= 0 && index[i] < p.count; };
  std::memset(ends, 0, static_cast<size_t>(p.count) * sizeof(int64_t));
  for (int64_t i = 0; i < p.rows; ++i) {
    if (inside(i)) ++ends[index[i]];
  }
  int64_t total = 0;
  for (int64_t i = 0; i < p.count; ++i) {
    const int64_t here = ends[i];
    ends[i] = total;
    total += here;
  }
  for (int64_t i = 0; i < p.rows; ++i) {
    if (inside(i)) order[ends[index[i]]++] = i;
  }
}

/// The sum of some rows of dy, `n` columns of them, as many vectors as `vectors`. Rows are summed
/// in blocks, so that rounding does not grow with the number of rows.
template <int vectors>
TANDEM_INLINE void add_rows(const float* dy, int64_t dim, const int64_t* order, int64_t rows,
                            float* out, int64_t n) {
  constexpr int64_t kBefore = (vectors - 1) * kWidth;
  Vec sum[vectors];
  for (int j = 0; j < vectors; ++j) sum[j] = zero();
  for (int64_t i = 0; i < rows;) {
    const int64_t end = least(i + kBlock, rows);
    Vec part[vectors];
    for (int j = 0; j < vectors; ++j) part[j] = zero();
    for (; i < end; ++i) {
      const float* from = dy + order[i] * dim;
      for (int j = 0; j + 1 < vectors; ++j) part[j] += load(from + j * kWidth);
      part[vectors - 1] += load_partial(from + kBefore, n - kBefore);
    }
    for (int j = 0; j < vectors; ++j) sum[j] += part[j];
  }
  for (int j = 0; j < vectors; ++j) store_partial(out + j * kWidth, sum[j], n - j * kWidth);
}

void sum_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<ScatterParams>(params);
  const auto* dy = static_cast<const float*>(operands[1]);
  auto* dw = static_cast<float*>(operands[2]);
  const auto* ends = static_cast<const int64_t*>(operands[p.ends]);
  const auto* order = static_cast<const int64_t*>(operands[p.order]);
  const Range columns = piece(tile % p.column_blocks, p.columns, p.dim);
  const Range rows = piece(tile / p.column_blocks, p.per_tile, p.count);
  int64_t begin = rows.begin == 0 ? 0 : ends[rows.begin - 1];
  for (int64_t i = rows.begin; i < rows.end; begin = ends[i], ++i) {
    const int64_t count = ends[i] - begin;
    float* out = dw + i * p.dim + columns.begin;
    const int64_t n = columns.end - columns.begin;
    if (count == 0) {
      std::memset(out, 0, static_cast<size_t>(n) * sizeof(float));
      continue;
    }
    int64_t j = 0;
    const float* from = dy + columns.begin;
    for (; n - j > 3 * kWidth; j += 4 * kWidth)
      add_rows<4>(from + j, p.dim, order + begin, count, out + j, least(n - j, 4 * kWidth));
    for (; n - j > 0; j += kWidth)
      add_rows<1>(from + j, p.dim, order + begin, count, out + j, least(n - j, kWidth));
  }
}

}  // namespace

void launch_embedding(const NodeView& node, Emitter& emit) {
  const Tensor& weight = *node.inputs[1];
  const int64_t rows = node.inputs[0]->numel;
  const int64_t dim = weight.dims[1];
  if (dim == 0) return;
  const LookupParams p{rows, weight.dims[0], dim, most(1, kMoveTile / dim)};
  emit_step(emit, lookup_tile, p, ceil_div(rows, p.per_tile),
            20.0 + 4.0 * static_cast<double>(rows) +
                kMoveCost * static_cast<double>(node.outputs[0]->numel));
}

void launch_embeddingGrad(const NodeView& node, Emitter& emit) {
  const Tensor& table = *node.outputs[0];
  if (table.numel == 0) return;
  ScatterParams p{};
  p.rows = node.inputs[0]->numel;
  p.count = table.dims[0];
  p.dim = table.dims[1];
  p.columns = kColumns;
  p.column_blocks = ceil_div(p.dim, p.columns);
  const int64_t wanted = most(1, kTiles / p.column_blocks);
  const int64_t largest = most(1, kMoveTile / least(p.columns, p.dim));
  p.per_tile = least(ceil_div(p.count, wanted), largest);
  p.ends = emit.workspace(p.count * static_cast<int64_t>(sizeof(int64_t)));
  p.order = emit.workspace(most(p.rows, 1) * static_cast<int64_t>(sizeof(int64_t)));
  const auto rows = static_cast<double>(p.rows);
  const auto count = static_cast<double>(p.count);
  emit_step(emit, sort_tile, p, 1, 20.0 + 3.0 * rows + 0.7 * count);
  emit_step(emit, sum_tile, p, ceil_div(p.count, p.per_tile) * p.column_blocks,
            20.0 + 2.0 * count * static_cast<double>(p.column_blocks) +
                kMoveCost * static_cast<double>(node.inputs[1]->numel + table.numel) *
                    (kWidth == 1 ? 4.0 : 1.0));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
