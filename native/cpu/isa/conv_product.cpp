// The product of a convolution: tiles are blocks of an image's pixels. Each gathers its columns of
// B into this thread's scratch memory and multiplies them there.
#include "cpu/isa/conv.h"

namespace tandem::cpu::TANDEM_ISA_NS {

GemmEpilogue epilogue_of(const GatheredProduct& product) {
  GemmEpilogue epilogue = {};
  epilogue.params = product.params;
  if (product.relu) {
    epilogue.activation = GEMM_ACT_RELU;
  } else if (product.activation != nullptr) {
    epilogue.activation = GEMM_ACT_APPLY;
    epilogue.apply = product.activation;
  }
  return epilogue;
}

void activate_row(const GemmEpilogue& epilogue, const float* sums, float* y, int64_t n) {
  if (epilogue.activation == GEMM_ACT_APPLY) {
    epilogue.apply(sums, nullptr, y, n, epilogue.params);
  } else if (epilogue.activation == GEMM_ACT_RELU) {
    for (int64_t i = 0; i < n; i += kLanes) {
      const int count = static_cast<int>(least(kLanes, n - i));
      store_lanes(y + i, greater_of(spread(0.0F), load_lanes(sums + i, count)), count);
    }
  }
}

GemmEpilogue epilogue_before_residual(const GatheredProduct& product) {
  return product.residual < 0 ? epilogue_of(product) : GemmEpilogue{};
}

void add_and_activate(const GemmEpilogue& epilogue, const float* residual, float* y, int64_t n) {
  const bool relu = epilogue.activation == GEMM_ACT_RELU;
  const Lanes floor = spread(relu ? 0.0F : -__builtin_inff());
  for (int64_t i = 0; i < n; i += kLanes) {
    const int count = static_cast<int>(least(kLanes, n - i));
    const Lanes sum = load_lanes(y + i, count) + load_lanes(residual + i, count);
    store_lanes(y + i, greater_of(floor, sum), count);
  }
  if (epilogue.activation == GEMM_ACT_APPLY) epilogue.apply(y, nullptr, y, n, epilogue.params);
}

namespace {

// A block of B that stays in the L2 beside the rows of A that stream by.
constexpr int64_t kBlockFloats = 160 * 1024;
// Enough tiles that 16 threads end at about the same time.
constexpr int64_t kTiles = 32;

struct ProductParams {
  GatheredProduct product;
  GemmPlan plans[2];  // of a whole block of pixels and of the last one
  int64_t blocks, block_pixels;
  int64_t pixels, depth;                   // depth: words of k
  const GemmRounding* rounding;            // for products of bfloat16
  int64_t strip_at, table_at, scratch_at;  // behind the packed columns
};

/// Some pixels to panels of a block.
void gather_panels(const ProductParams& p, const float* planes, int64_t p0, int64_t pixels,
                   const GatherTarget& target, char* scratch) {
  const GatheredProduct& product = p.product;
  char* table = scratch + p.table_at;
  if (p.rounding == nullptr) {
    gather_pixels(product.grid, planes, product.channels, p0, pixels, target, table);
    return;
  }
  auto* strip = reinterpret_cast<float*>(scratch + p.strip_at);
  gather_words(product.grid, planes, product.channels, p0, pixels, target, *p.rounding, strip,
               table);
  const int64_t taps = product.grid.row_taps.count * product.grid.column_taps.count;
  const int64_t rows = ceil_div(product.channels, 2) * taps;
  for (int64_t j = 0; j < pixels; j += kPanelColumns) {
    float* panel = target.data + j / kPanelColumns * target.pair;
    for (int64_t i = rows * target.row; i < p.depth * target.row; ++i) panel[i] = 0.0F;
  }
}

void gather_block(const ProductParams& p, const float* planes, int64_t p0, int64_t pixels,
                  char* scratch) {
  auto* packed = reinterpret_cast<float*>(scratch);
  const int64_t whole = pixels / kPanelColumns * kPanelColumns;
  const int64_t left = pixels - whole;
  // The last panel is of one vector where that is enough.
  const int64_t paired = left > kLanes ? pixels : whole;
  if (paired > 0)
    gather_panels(p, planes, p0, paired, {packed, kPanelColumns, kPanelColumns * p.depth}, scratch);
  if (paired < pixels)
    gather_panels(p, planes, p0 + paired, pixels - paired, {packed + paired * p.depth, kLanes, 0},
                  scratch);
}

void product_tile(const void* params, void* const* operands, int64_t tile,
                  const TileContext& context) {
  const auto& p = params_of<ProductParams>(params);
  const GatheredProduct& product = p.product;
  const int64_t block = tile % p.blocks, image = tile / p.blocks;  // of a group
  const int64_t group = image % product.groups;
  const Range range = piece(block, p.block_pixels, p.pixels);
  auto* scratch = static_cast<char*>(context.scratch);
  const float* planes = static_cast<const float*>(operands[product.planes]) +
                        image * product.channels * product.grid.rows * product.grid.columns;
  gather_block(p, planes, range.begin, range.end - range.begin, scratch);

  const int64_t c_at = image * product.rows * p.pixels + range.begin;
  GemmEpilogue epilogue = epilogue_before_residual(product);
  if (product.bias >= 0)
    epilogue.row_bias = static_cast<const float*>(operands[product.bias]) + group * product.rows;
  if (product.pre >= 0) epilogue.pre = static_cast<float*>(operands[product.pre]) + c_at;
  // A is made of words of as many bytes as floats.
  gemm_compute(p.plans[block + 1 == p.blocks ? 1 : 0],
               static_cast<const float*>(operands[product.a]) + group * product.rows * p.depth,
               scratch, static_cast<float*>(operands[product.y]) + c_at, epilogue, 0,
               scratch + p.scratch_at);
  if (product.residual < 0) return;
  for (int64_t r = 0; r < product.rows; ++r) {
    const int64_t at = c_at + r * p.pixels;
    add_and_activate(epilogue_of(product),
                     static_cast<const float*>(operands[product.residual]) + at,
                     static_cast<float*>(operands[product.y]) + at, range.end - range.begin);
  }
}

GemmPlan plan_block(const ProductParams& p, int64_t pixels) {
  GemmDesc desc = {};
  desc.batch[0] = desc.batch[1] = 1;
  desc.m = p.product.rows;
  desc.n = pixels;
  desc.type = p.product.bf16 ? GEMM_BF16 : GEMM_F32;
  desc.k = desc.a_row = p.product.bf16 ? 2 * p.depth : p.depth;
  desc.a_col = 1;
  desc.b_row = pixels;
  desc.b_col = 1;
  desc.c_row = p.pixels;
  desc.b_packed = desc.one_block = true;
  desc.row_bias = p.product.bias >= 0;
  return plan_gemm(desc);
}

}  // namespace

void emit_gathered(const GatheredProduct& product, Emitter& emit) {
  ProductParams p = {};
  p.product = product;
  const ConvGrid& grid = product.grid;
  const int64_t images = product.batch * product.groups;
  p.pixels = grid.out_rows * grid.out_columns;
  const int64_t taps = grid.row_taps.count * grid.column_taps.count;
  p.depth = product.bf16 ? gathered_words(product.channels, taps) : product.channels * taps;
  if (product.bf16) p.rounding = best_kernels(GEMM_BF16)->rounding;
  if (images == 0) return;

  const int64_t panels = ceil_div(p.pixels, kPanelColumns);
  const int64_t fit = most(1, kBlockFloats / (p.depth * kPanelColumns));
  const int64_t blocks = least(panels, most(ceil_div(panels, fit), ceil_div(kTiles, images)));
  p.block_pixels = ceil_div(panels, blocks) * kPanelColumns;
  p.blocks = ceil_div(p.pixels, p.block_pixels);
  const int64_t first = least(p.block_pixels, p.pixels);
  p.plans[0] = plan_block(p, first);
  p.plans[1] = plan_block(p, p.pixels - (p.blocks - 1) * p.block_pixels);

  p.strip_at = round_up(round_up(first, kLanes) * p.depth * 4, 64);
  const int64_t strip = product.bf16 ? gather_strip_floats(grid, first) * 4 : 0;
  p.table_at = round_up(p.strip_at + strip, 64);
  p.scratch_at = p.table_at + gather_table_bytes(grid, first);
  emit.scratch(p.scratch_at + most(p.plans[0].scratch_bytes, p.plans[1].scratch_bytes));
  constexpr double kProductsPerNanosecond = 2.5 * kWidth;
  const double columns =
      static_cast<double>(product.channels * taps) * static_cast<double>(p.pixels);
  const double cost = static_cast<double>(images) *
                      (columns * (static_cast<double>(product.rows) * product_time(product.bf16) /
                                      kProductsPerNanosecond +
                                  1.0 / kWidth) +
                       static_cast<double>(p.pixels) * static_cast<double>(product.rows) * 0.1);
  emit_step(emit, product_tile, p, images * p.blocks, cost);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
