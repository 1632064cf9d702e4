// Packs weights as bytes, a panel of columns a tile.
#include "cpu/isa/quantized_weight.h"

#include "cpu/isa/byte_lanes.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

/// Bytes of a column of B that are packed at a time: those of a vector of columns stay in the L1
/// cache until they are in words.
constexpr int64_t kPiece = 256;

/// Numbers [first, first + count) of a column of B, which is the row of the weight from element
/// `at` on, as bytes.
void read_piece(const QuantizedWeight& w, const WeightSource& source, int64_t at, float scale,
                int64_t first, int64_t count, int8_t* out) {
  int64_t tap = first / w.channels, channel = first % w.channels;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t from = at + channel * w.taps + tap;
    out[i] = static_cast<int8_t>(byte_of(source, from, scale));
    if (++channel < w.channels) continue;
    channel = 0;
    ++tap;
  }
}

/// `count` bytes of each of `columns` rows, `stride` apart, as words of a panel; returns `sums`
/// with those of each column added. Columns that are missing are zeros.
Words pack_piece(const int8_t* rows, int64_t stride, int columns, int64_t count, int64_t word,
                 int64_t width, char* panel, Words sums) {
  alignas(64) char block[kPiece * kLanes];  // words of four bytes, a vector of columns each
  const int64_t whole = count / 4, rest = count % 4;
  transpose_strip(reinterpret_cast<const char*>(rows), stride, columns, whole, block, kLanes);
  if (rest > 0) {
    char* const last = block + whole * kLanes * 4;
    std::memset(last, 0, kLanes * 4);
    for (int j = 0; j < columns; ++j)
      std::memcpy(last + int64_t{j} * 4, rows + j * stride + whole * 4, static_cast<size_t>(rest));
  }
  for (int64_t i = 0; i < count; i += 4) {
    const Words bytes = load_words(block + i * kLanes);
    sums = sums + sum_of_bytes(bytes);
    if (word == 4) {
      store_words(panel + i * width, bytes);
      continue;
    }
    store_u16(panel + i * width, bytes);
    if (i + 2 < count) store_u16(panel + (i + 2) * width, shr_unsigned<16>(bytes));
  }
  return sums;
}

/// Columns of B from row `row` of the weight on, `columns` <= kLanes of them; returns their sums.
Words pack_columns(const QuantizedWeight& w, const WeightSource& source, int64_t row, int columns,
                   int64_t width, char* panel) {
  const int64_t k = w.channels * w.taps;
  const bool in_place = source.bytes != nullptr && w.taps == 1;
  int8_t pieces[kLanes * kPiece];
  Words all = spread_word(0);
  for (int64_t first = 0; first < k; first += kPiece) {
    const int64_t count = least(kPiece, k - first);
    for (int j = 0; j < columns && !in_place; ++j)
      read_piece(w, source, (row + j) * k, w.scales[row + j], first, count, pieces + j * kPiece);
    const int8_t* const rows = in_place ? source.bytes + row * k + first : pieces;
    all = pack_piece(rows, in_place ? k : kPiece, columns, count, w.plan.desc.kernels->b_word,
                     width, panel + first * width, all);
  }
  return all;
}

// Operands: the weight as floats, the packed memory, the weight as bytes.
void pack_tile(const void* raw, void* const* operands, int64_t tile, const TileContext&) {
  const auto& w = params_of<QuantizedWeight>(raw);
  const int64_t n = w.plan.desc.n, panels = ceil_div(n, kPanelColumns);
  const int64_t group = tile / panels, first = tile % panels * kPanelColumns;
  const int64_t row = group * n + first;  // of the weight
  const int64_t columns = least(n - first, kPanelColumns);
  const int64_t width = columns > kLanes ? kPanelColumns : kLanes;
  const int64_t b_word = w.plan.desc.kernels->b_word;
  auto* const packed = static_cast<char*>(operands[1]) + group * w.bytes;
  char* const panel = packed + first * w.plan.k_words * b_word;
  char* const sums = packed + w.place.sums_at + first * w.place.sum_bytes;
  auto* const scales = reinterpret_cast<float*>(packed + w.place.scales_at) + first;
  const WeightSource weight = weight_source(operands);
  for (int64_t j = 0; j < columns; ++j) scales[j] = w.scales[row + j] * w.x_scale;
  for (int64_t j = 0; j < width; j += kLanes) {
    const auto here = static_cast<int>(most(0, least(columns - j, kLanes)));
    const Words sum = pack_columns(w, weight, row + j, here, width, panel + j * b_word);
    if (w.place.sum_bytes == 2) store_u16(sums + j * 2, sum);
    if (w.place.sum_bytes == 4) store_words(sums + j * 4, sum);
  }
  // words that fill k up
  const int64_t filled = round_up(w.channels * w.taps, b_word), all = w.plan.k_words * b_word;
  std::memset(panel + filled * width, 0, static_cast<size_t>((all - filled) * width));
}

/// Vector `j` of a panel's columns as floats [k][to].
template <int bytes>
void widen_columns(const char* words, int64_t from, int64_t k, Lanes scale, float* floats,
                   int64_t to) {
  const auto put = [&](int64_t at, Lanes value) {
    store_words(floats + at * to, as_words(value * scale));
  };
  int64_t i = 0;
  for (; i + bytes <= k; i += bytes, words += from * bytes) {
    const Words w = load_byte_words<bytes>(words);
    put(i, byte_lanes<0>(w));
    put(i + 1, byte_lanes<1>(w));
    if constexpr (bytes == 4) {
      put(i + 2, byte_lanes<2>(w));
      put(i + 3, byte_lanes<3>(w));
    }
  }
  if (i == k) return;
  const Words w = load_byte_words<bytes>(words);
  put(i, byte_lanes<0>(w));
  if (i + 1 < k) put(i + 1, byte_lanes<1>(w));
  if constexpr (bytes == 4) {
    if (i + 2 < k) put(i + 2, byte_lanes<2>(w));
  }
}

}  // namespace

void widen(const QuantizedWeight& w, const char* packed, int64_t first, int64_t columns,
           float* out) {
  const GemmDesc& d = w.plan.desc;
  const int64_t b_word = d.kernels->b_word;
  const auto* const scales = reinterpret_cast<const float*>(packed + w.place.scales_at);
  for (int64_t p = 0; p < columns; p += kPanelColumns) {
    const int64_t at = first + p, here = least(kPanelColumns, columns - p);
    // The panel that the bytes are in may be wider than that of floats.
    const int64_t from = d.n - at > kLanes ? kPanelColumns : kLanes;
    const int64_t to = here > kLanes ? kPanelColumns : kLanes;
    const char* const panel = packed + at * w.plan.k_words * b_word;
    float* const floats = out + p * d.k;
    for (int64_t j = 0; j < to; j += kLanes) {
      const int count = static_cast<int>(most(0, least(kLanes, here - j)));
      const Lanes scale = load_lanes(scales + at + j, count);
      const char* const words = panel + j * b_word;
      if (b_word == 4) {
        widen_columns<4>(words, from, d.k, scale, floats + j, to);
      } else {
        widen_columns<2>(words, from, d.k, scale, floats + j, to);
      }
    }
  }
}

QuantizedWeight quantized_weight(const GemmPlan& plan, const ops::QuantizedProduct& product,
                                 int64_t channels, int64_t taps, int64_t groups) {
  QuantizedWeight w{};
  w.plan = plan;
  w.scales = product.weight_scales;
  w.x_scale = product.mode == QuantizationMode::kStatic ? product.x_scale : 1.0F;
  w.channels = channels;
  w.taps = taps;
  w.groups = groups;
  const bool has_sums = product.mode == QuantizationMode::kDynamic ||
                        (product.mode == QuantizationMode::kStatic && product.x_zero != 0);
  constexpr int64_t kFitsShort = 256;  // terms of -128 each, which bytes of a file may be
  w.place.sum_bytes = !has_sums ? 0 : channels * taps <= kFitsShort ? 2 : 4;
  w.place.sums_at = plan.sums_at;
  w.place.scales_at = plan.sums_at + round_up(plan.desc.n, kLanes) * w.place.sum_bytes;
  w.bytes = w.place.scales_at + plan.desc.n * 4;
  if (groups > 1) w.bytes = round_up(w.bytes, 64);  // kernels want each to begin so
  return w;
}

int freeze(const QuantizedWeight& weight, int32_t index, Emitter& emit) {
  constexpr uint64_t kFirstLayout = 16;  // those below are of products of floats
  return emit.frozen(1, kFirstLayout + static_cast<uint64_t>(index), pack_tile, &weight,
                     sizeof weight, weight.groups * ceil_div(weight.plan.desc.n, kPanelColumns),
                     weight.groups * weight.bytes);
}

QuantizedResult quantized_result(const NodeView& node, const ops::QuantizedProduct& product) {
  QuantizedResult result{};
  result.bias = node.input_count > 2 && node.inputs[2] != nullptr ? 2 : -1;
  result.residual = node.input_count > 3 && node.inputs[3] != nullptr ? 3 : -1;
  result.y = node.input_count;
  result.params[0] = product.activation_attributes.a;
  result.params[1] = product.activation_attributes.b;
  if (product.activation >= 0) {
    const auto op = static_cast<Op>(product.activation);
    result.relu = op == Op::relu;
    result.activation = row_function(op);
  }
  if (product.to_bytes) {
    result.inverse = 1.0F / product.y_scale;
    result.zero = product.y_zero;
  }
  return result;
}

GemmEpilogue epilogue_of(const QuantizedResult& result, void* const* operands) {
  GemmEpilogue epilogue{};
  if (result.bias >= 0) epilogue.bias = static_cast<const float*>(operands[result.bias]);
  if (result.residual >= 0) epilogue.residual = operands[result.residual];
  epilogue.params = result.params;
  if (result.relu) {
    epilogue.activation = GEMM_ACT_RELU;
  } else if (result.activation != nullptr) {
    epilogue.activation = GEMM_ACT_APPLY;
    epilogue.apply = result.activation;
  }
  epilogue.c_inverse = result.inverse;
  epilogue.c_zero = result.zero;
  return epilogue;
}

double quantized_cost(const GemmPlan& plan, int64_t rows) {
  constexpr double kFlopsPerNanosecond = 5.0 * kWidth;
  constexpr double kBytesPerNanosecond = 50.0;
  const GemmDesc& desc = plan.desc;
  const double words = static_cast<double>(desc.n) * static_cast<double>(plan.k_words);
  const double compute =
      2.0 * static_cast<double>(rows) * words * desc.kernels->steps_per_word / kFlopsPerNanosecond;
  const double load = words * desc.kernels->b_word / kBytesPerNanosecond;
  return (compute > load ? compute : load) + 100.0;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
