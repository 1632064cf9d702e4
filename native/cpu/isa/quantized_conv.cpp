// quantizedConv: a convolution over images of bytes that lie channels last, as a product
// [pixels, taps * channels] * [taps * channels, out]. A tile gathers the bytes that its pixels read
// into scratch memory: the taps of a row of a window are neighbours, so a window is a few copies.
// Convolutions in groups are one such product after the other, on neighbouring channels; those of
// one channel a group have a kernel of their own.
#include "cpu/isa/quantized_conv.h"

#include "cpu/isa/quantized_weight.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct ByteConv {
  GemmPlan plan, last;  // of the pixels of a tile, and of the last one
  QuantizedResult result;
  ColumnsPlace place;               // in the packed weight of a group
  int64_t group_bytes;              // of all of it
  int64_t groups, group_out;        // output channels of a group
  int64_t pixels, per_tile, pitch;  // of all images; of a tile; bytes of a gathered row
  int64_t channels, all_channels;   // of a group
  int64_t columns, rows, y_columns, y_rows;
  ops::ConvAttributes conv;
  int64_t tap_rows, tap_columns;
  int64_t y_bytes;  // of a number of y
  int32_t x_zero, packed;
  bool in_place;  // rows are pixels of x
};

/// Copies with whole words of a few sizes that overlap; short copies are most of the work.
TANDEM_INLINE void copy_short(char* to, const char* from, int64_t n) {
  const auto ends = [&](auto word) {
    constexpr int64_t kSize = sizeof word;
    int64_t i = 0;
    for (; i + kSize < n; i += kSize) std::memcpy(to + i, from + i, sizeof word);
    std::memcpy(to + n - kSize, from + n - kSize, sizeof word);
  };
  struct Sixteen {
    uint64_t low, high;
  };
  if (n >= 16) return ends(Sixteen{});
  if (n >= 8) return ends(uint64_t{});
  if (n >= 4) return ends(uint32_t{});
  for (int64_t i = 0; i < n; ++i) to[i] = from[i];
}

/// What the taps of one row of a window at column `left` read of a row of x.
TANDEM_INLINE void gather_taps(const ByteConv& p, const char* row, int64_t left, char* out) {
  const int64_t c = p.channels, step = p.conv.dilation.width;
  const int zero = p.x_zero;
  if (step == 1 && p.groups == 1) {
    const int64_t begin = most(0, -left), end = most(begin, least(p.tap_columns, p.columns - left));
    if (begin > 0) std::memset(out, zero, static_cast<size_t>(least(begin, p.tap_columns) * c));
    if (begin < end) copy_short(out + begin * c, row + (left + begin) * c, (end - begin) * c);
    if (end < p.tap_columns && begin < p.tap_columns)
      std::memset(out + end * c, zero, static_cast<size_t>((p.tap_columns - end) * c));
    return;
  }
  for (int64_t i = 0; i < p.tap_columns; ++i) {
    const int64_t column = left + i * step;
    if (column < 0 || column >= p.columns)
      std::memset(out + i * c, zero, static_cast<size_t>(c));
    else
      copy_short(out + i * c, row + column * p.all_channels, c);
  }
}

void gather_window(const ByteConv& p, const char* image, int64_t top, int64_t left, char* out) {
  const int64_t row_bytes = p.tap_columns * p.channels;
  for (int64_t i = 0; i < p.tap_rows; ++i, out += row_bytes) {
    const int64_t row = top + i * p.conv.dilation.height;
    if (row < 0 || row >= p.rows)
      std::memset(out, p.x_zero, static_cast<size_t>(row_bytes));
    else
      gather_taps(p, image + row * p.columns * p.all_channels, left, out);
  }
}

/// Rows of the gathered matrix for pixels [first, last) of all images.
void gather(const ByteConv& p, const char* x, int64_t first, int64_t last, char* out) {
  const int64_t image_bytes = p.rows * p.columns * p.all_channels;
  int64_t column = first % p.y_columns, row = first / p.y_columns % p.y_rows;
  const char* image = x + first / p.y_columns / p.y_rows * image_bytes;
  for (int64_t i = first; i < last; ++i, out += p.pitch) {
    gather_window(p, image, row * p.conv.stride.height - p.conv.padding.height,
                  column * p.conv.stride.width - p.conv.padding.width, out);
    // Bytes beyond the taps meet weights of zero, but are read.
    for (int64_t k = p.tap_rows * p.tap_columns * p.channels; k < p.pitch; ++k) out[k] = 0;
    if (++column < p.y_columns) continue;
    column = 0;
    if (++row < p.y_rows) continue;
    row = 0;
    image += image_bytes;
  }
}

/// The product of one group for the pixels of a tile.
void group_product(const ByteConv& p, void* const* operands, const Range& range, int64_t group,
                   char* scratch) {
  const auto* const x = static_cast<const char*>(operands[0]) + group * p.channels;
  const auto* const packed = static_cast<const char*>(operands[p.packed]) + group * p.group_bytes;
  if (!p.in_place) gather(p, x, range.begin, range.end, scratch);
  GemmEpilogue epilogue = epilogue_of(p.result, operands);
  set_columns(p.place, packed, epilogue);
  epilogue.a_zero = p.x_zero;
  if (epilogue.bias != nullptr) epilogue.bias += group * p.group_out;
  const GemmPlan& plan = range.end - range.begin == p.per_tile ? p.plan : p.last;
  const int64_t own = p.in_place ? 0 : round_up(p.per_tile * p.pitch, 64);
  const int64_t at = range.begin * p.groups * p.group_out + group * p.group_out;
  gemm_compute(plan, p.in_place ? x + range.begin * p.all_channels : scratch, packed,
               static_cast<char*>(operands[p.result.y]) + at * p.y_bytes, epilogue, 0,
               scratch + own);
}

void conv_tile(const void* raw, void* const* operands, int64_t tile, const TileContext& context) {
  const auto& p = params_of<ByteConv>(raw);
  const Range range = piece(tile, p.per_tile, p.pixels);
  for (int64_t group = 0; group < p.groups; ++group)
    group_product(p, operands, range, group, static_cast<char*>(context.scratch));
}

GemmPlan plan_pixels(const ByteConv& p, int64_t pixels, bool to_bytes) {
  GemmDesc desc{};
  desc.batch[0] = desc.batch[1] = 1;
  desc.m = pixels;
  desc.n = p.group_out;
  desc.k = p.pitch;
  desc.a_row = p.in_place ? p.all_channels : p.pitch;
  desc.a_col = 1;
  desc.b_row = 1;
  desc.b_col = p.pitch;
  desc.c_row = p.groups * p.group_out;
  desc.b_packed = desc.one_block = true;
  desc.type = GEMM_S8;
  desc.c_type = to_bytes ? GEMM_TO_U8 : GEMM_TO_F32;
  return plan_gemm(desc);
}

/// Sizes of x [n, (h,) w, c], w [out, c, (kh,) kw] and y.
void measure(ByteConv& p, const NodeView& node) {
  const Tensor& x = *node.inputs[0];
  const Tensor& w = *node.inputs[1];
  const Tensor& y = *node.outputs[0];
  const bool plane = x.rank == 4;
  p.groups = p.conv.groups;
  p.all_channels = x.dims[x.rank - 1];
  p.channels = p.all_channels / p.groups;
  p.group_out = w.dims[0] / p.groups;
  p.columns = x.dims[x.rank - 2];
  p.rows = plane ? x.dims[1] : 1;
  p.y_columns = y.dims[y.rank - 2];
  p.y_rows = plane ? y.dims[1] : 1;
  p.tap_columns = w.dims[w.rank - 1];
  p.tap_rows = plane ? w.dims[2] : 1;
  p.pixels = x.dims[0] * p.y_rows * p.y_columns;
  const IntPair& stride = p.conv.stride;
  const IntPair& padding = p.conv.padding;
  const int64_t steps = stride.height * stride.width * p.tap_rows * p.tap_columns;
  const int64_t k = p.tap_rows * p.tap_columns * p.channels;
  p.in_place = steps == 1 && padding.height + padding.width == 0 && k % 4 == 0;
  p.pitch = round_up(k, 4);
}

}  // namespace

void launch_quantizedConv(const NodeView& node, Emitter& emit) {
  constexpr int64_t kTileBytes = 48 * 1024, kMostPixels = 256, kFewestPixels = 16;
  constexpr double kGatherCost = 0.06;  // nanoseconds a byte
  const auto& [product, conv] = attributes_of<ops::QuantizedConv::Attributes>(node);
  if (node.outputs[0]->numel == 0) return;
  if (conv.groups > 1 && node.inputs[1]->dims[1] == 1) return launch_depthwise_bytes(node, emit);
  ByteConv p{};
  p.conv = conv;
  measure(p, node);
  p.x_zero = product.x_zero;
  p.y_bytes = product.to_bytes ? 1 : 4;
  p.per_tile = most(kFewestPixels, least(kMostPixels, kTileBytes / p.pitch));
  p.per_tile = least(p.pixels, p.per_tile);
  const int64_t tiles = ceil_div(p.pixels, p.per_tile);
  p.plan = plan_pixels(p, p.per_tile, product.to_bytes);
  p.last = plan_pixels(p, p.pixels - (tiles - 1) * p.per_tile, product.to_bytes);
  p.result = quantized_result(node, product);
  const QuantizedWeight weight =
      quantized_weight(p.plan, product, p.channels, p.tap_rows * p.tap_columns, p.groups);
  p.place = weight.place;
  p.group_bytes = weight.bytes;
  p.packed = freeze(weight, product.index, emit);
  emit.scratch((p.in_place ? 0 : round_up(p.per_tile * p.pitch, 64)) +
               most(p.plan.scratch_bytes, p.last.scratch_bytes));
  emit_step(emit, conv_tile, p, tiles,
            static_cast<double>(p.groups) *
                (quantized_cost(p.plan, p.pixels) +
                 kGatherCost * static_cast<double>(p.pixels) * static_cast<double>(p.pitch)));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
