// productUpdate: tiles are rows of the gradient a * b. Each is computed into this thread's scratch
// memory and used at once to update its rows of the parameter.
#include "core/ops/product_update.h"

#include "cpu/isa/denormals.h"
#include "cpu/isa/gemm_kernel.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/update.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

using Attributes = ops::ProductUpdate::Attributes;

constexpr int64_t kTile = 8192;  // elements, at least: less would be handed out too often
// Floats of b that a share of the L2 does not hold: tiles of fewer panels than these would spend
// their time reading it. Not so many that the gradient would leave the L2, or that few tiles
// remain.
constexpr int64_t kManyFloats = 512 * 1024, kManyPanels = 7;
constexpr int64_t kGradientFloats = 192 * 1024, kFewTiles = 4;

struct ProductParams {
  GemmPlan plans[2];  // of the tiles with fewest rows, and of those with one more
  GemmParts tiles;    // of the rows
  int64_t rows, columns;
  int64_t a_row;       // floats between the rows of a
  int64_t scratch_at;  // behind the rows of the gradient
  int32_t packed;      // operand: b for plans that want it packed
  int32_t packed_a;    // operand: a, if it is packed before the tiles
  int64_t pack_tiles;  // of b; those of a follow
  int64_t a_bytes;     // of the packed rows of a tile
  UpdateFn update;
  decltype(Attributes::optimizer_attributes) attributes;
};

/// The plan of the rows of a tile, and the first of them.
const GemmPlan& plan_of(const ProductParams& p, int64_t tile, int64_t& row) {
  row = part_start(p.tiles, tile);
  return p.plans[part_start(p.tiles, tile + 1) - row - p.tiles.size];
}

// Operands: a, b, parameter, state, sums of squares, the packed forms of b and of a.
void pack_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<ProductParams>(params);
  if (tile < p.pack_tiles) {
    const GemmPlan& plan = p.plans[p.plans[0].source == GEMM_B_PACKED ? 0 : 1];
    gemm_pack_b(plan, operands[1], operands[p.packed], tile);
    return;
  }
  for (int64_t i = 0; i < p.tiles.count; ++i) {
    int64_t row = 0;
    const GemmPlan& plan = plan_of(p, i, row);
    // Of rows, one more may make a panel more.
    if (tile - p.pack_tiles >= plan.pack_a_tiles) continue;
    gemm_pack_a(plan, static_cast<const float*>(operands[0]) + row * p.a_row,
                static_cast<char*>(operands[p.packed_a]) + i * p.a_bytes, tile - p.pack_tiles);
  }
}

void update_tile(const void* params, void* const* operands, int64_t tile,
                 const TileContext& context) {
  const FlushDenormals flush;
  const auto& p = params_of<ProductParams>(params);
  int64_t row = 0;
  const GemmPlan& plan = plan_of(p, tile, row);
  const int64_t rows = plan.desc.m;
  const void* b = operands[plan.source == GEMM_B_PACKED ? p.packed : 1];
  auto* gradient = static_cast<float*>(context.scratch);
  auto* scratch = static_cast<char*>(context.scratch) + p.scratch_at;
  const void* a =
      plan.pack_a_tiles > 0
          ? static_cast<const char*>(operands[p.packed_a]) + tile * p.a_bytes
          : static_cast<const void*>(static_cast<const float*>(operands[0]) + row * p.a_row);
  for (int64_t i = 0; i < plan.compute_tiles; ++i)
    gemm_compute(plan, a, b, gradient, GemmEpilogue{}, i, scratch);

  const int64_t at = row * p.columns;
  auto* state = static_cast<float*>(operands[3]);
  const UpdateSpan span{static_cast<float*>(operands[2]) + at, gradient,
                        state == nullptr ? nullptr : state + at, p.rows * p.columns,
                        rows * p.columns};
  auto* squares = static_cast<float*>(operands[4]) + row;
  squares[0] = p.update(p.attributes.data(), *context.state, span);
  for (int64_t i = 1; i < rows; ++i) squares[i] = 0.0F;
}

GemmDesc describe(const NodeView& node, const Attributes& attributes) {
  const Tensor& a = *node.inputs[0];
  const Tensor& b = *node.inputs[1];
  GemmDesc d{};
  d.m = a.dims[attributes.trans_a ? 1 : 0];
  d.k = a.dims[attributes.trans_a ? 0 : 1];
  d.n = b.dims[attributes.trans_b ? 0 : 1];
  d.a_row = attributes.trans_a ? 1 : d.k;
  d.a_col = attributes.trans_a ? d.m : 1;
  d.b_row = attributes.trans_b ? 1 : d.n;
  d.b_col = attributes.trans_b ? d.k : 1;
  d.c_row = d.n;
  d.batch[0] = d.batch[1] = 1;
  if (attributes.bf16) {
    d.type = GEMM_BF16;
    d.from_float = true;
  }
  return d;
}

/// Tiles of whole panels of the product as it would be cut by itself.
GemmParts choose_tiles(const GemmPlan& whole) {
  const GemmDesc& d = whole.desc;
  const int64_t panel = ceil_div(d.m, whole.row_panels.count);
  const bool streams = d.type == GEMM_F32 && d.k * d.n > kManyFloats;
  const int64_t most_panels =
      least(kGradientFloats / (panel * d.n), whole.row_panels.count / kFewTiles);
  const int64_t fewest = streams ? most(1, least(kManyPanels, most_panels)) : 1;
  return cut(d.m, ceil_div(d.m, panel * most(fewest, ceil_div(kTile, panel * d.n))));
}

double cost_of(const GemmPlan& plan, int64_t rows) {
  const double steps = static_cast<double>(plan.k_words) * plan.desc.kernels->steps_per_word;
  const double per_element = (kWidth == 1 ? 8.0 : 0.2) + 2.0 * steps / (5.0 * kWidth);
  return 100.0 + per_element * static_cast<double>(rows) * static_cast<double>(plan.desc.n);
}

void emit_packing(ProductParams& p, Emitter& emit) {
  const GemmPlan& packs = p.plans[0].source == GEMM_B_PACKED ? p.plans[0] : p.plans[1];
  int64_t elements = 0;
  if (packs.source == GEMM_B_PACKED && packs.pack_tiles > 0) {
    p.packed = emit.workspace(packs.packed_b_bytes);
    p.pack_tiles = packs.pack_tiles;
    elements += packs.desc.n;
  }
  const int64_t pack_a_tiles = most(p.plans[0].pack_a_tiles, p.plans[1].pack_a_tiles);
  if (pack_a_tiles > 0) {
    p.a_bytes = most(p.plans[0].packed_a_bytes, p.plans[1].packed_a_bytes);
    p.packed_a = emit.workspace(p.tiles.count * p.a_bytes);
    elements += p.rows;
  }
  emit_step(emit, pack_tile, p, p.pack_tiles + pack_a_tiles,
            0.4 * static_cast<double>(packs.desc.k) * static_cast<double>(elements));
}

}  // namespace

void launch_productUpdate(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<Attributes>(node);
  GemmDesc desc = describe(node, attributes);
  if (desc.m == 0 || desc.n == 0) return;
  const GemmPlan whole = plan_gemm(desc);
  ProductParams p{};
  p.tiles = choose_tiles(whole);
  p.rows = desc.m;
  p.columns = desc.n;
  p.a_row = desc.a_row;
  p.update = update_function(static_cast<Op>(attributes.optimizer),
                             attributes.optimizer_attributes.data());
  p.attributes = attributes.optimizer_attributes;
  // packed once for all tiles, where each would pack it for itself
  desc.b_packed = whole.source == GEMM_B_PACKED || whole.source == GEMM_B_LOCAL;
  desc.pack_a_first = desc.m * desc.k > kTile;
  p.scratch_at = round_up((p.tiles.size + 1) * desc.n * 4, 64);
  desc.kernels = whole.desc.kernels;
  for (int64_t more : {1, 0}) {
    desc.m = p.tiles.size + more;
    p.plans[more] = plan_gemm(desc);
    // Fewer rows may fit where these do not: a is packed for no tiles then.
    desc.pack_a_first = p.plans[more].pack_a_tiles > 0;
    emit.scratch(p.scratch_at + p.plans[more].scratch_bytes);
  }
  emit_packing(p, emit);
  emit_step(emit, update_tile, p, p.tiles.count, cost_of(whole, p.rows));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
