// Packs weights as bytes, a panel of columns a tile.
#include "cpu/isa/quantized_weight.h"

#include "cpu/isa/byte_lanes.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

/// Bytes of one column, whose words lie `step` bytes apart in the panel.
template <typename Word>
void pack_words(const int8_t* row, int64_t count, char* panel, int64_t step) {
  constexpr int64_t kGroup = sizeof(Word);
  const int64_t words = count / kGroup;
  for (int64_t i = 0; i < words; ++i) std::memcpy(panel + i * step, row + i * kGroup, kGroup);
  std::memcpy(panel + words * step, row + words * kGroup,
              static_cast<size_t>(count - words * kGroup));
}

/// The same for all columns of a panel, and their sums: rows of the weight are copied piece by
/// piece, so that the piece of the panel stays in the cache.
void pack_bytes(const QuantizedWeight& w, const int8_t* rows, int64_t columns, char* panel,
                int64_t width, int32_t* sums) {
  constexpr int64_t kPiece = 512;
  const GemmKernels& kernels = *w.plan.desc.kernels;
  const int64_t step = width * kernels.b_word;
  for (int64_t first = 0; first < w.channels; first += kPiece) {
    const int64_t count = least(kPiece, w.channels - first);
    char* const to = panel + first / kernels.group * step;
    for (int64_t j = 0; j < columns; ++j) {
      const int8_t* const row = rows + j * w.channels + first;
      if (kernels.group == 4) {
        pack_words<int32_t>(row, count, to + j * kernels.b_word, step);
      } else {
        pack_words<int16_t>(row, count, to + j * kernels.b_word, step);
      }
      int32_t sum = 0;
      for (int64_t i = 0; i < count; ++i) sum += row[i];
      sums[j] += sum;
    }
  }
}

/// One column of B, which is the row of the weight from element `first` on; returns the sum of its
/// bytes.
int32_t pack_column(const QuantizedWeight& w, const WeightSource& source, int64_t first,
                    float scale, char* panel, int64_t width) {
  const GemmKernels& kernels = *w.plan.desc.kernels;
  const int64_t group = kernels.group;
  int32_t sum = 0;
  int64_t k = 0;
  for (int64_t tap = 0; tap < w.taps; ++tap) {
    for (int64_t c = 0; c < w.channels; ++c, ++k) {
      const int32_t q = byte_of(source, first + c * w.taps + tap, scale);
      panel[k / group * width * kernels.b_word + k % group] = static_cast<char>(q);
      sum += q;
    }
  }
  return sum;
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
  std::memset(panel, 0, static_cast<size_t>(width * w.plan.k_words * b_word));
  auto* const sums = reinterpret_cast<int32_t*>(packed + w.plan.sums_at) + first;
  auto* const scales = reinterpret_cast<float*>(packed + w.scales_at) + first;
  const WeightSource weight = weight_source(operands);
  for (int64_t j = 0; j < width; ++j) sums[j] = 0;
  for (int64_t j = 0; j < columns; ++j) scales[j] = w.scales[row + j] * w.x_scale;
  const GemmKernels& kernels = *w.plan.desc.kernels;
  const int64_t each = w.channels * w.taps;
  if (weight.bytes != nullptr && w.taps == 1 && kernels.group == kernels.b_word) {
    pack_bytes(w, weight.bytes + row * each, columns, panel, width, sums);
    return;
  }
  for (int64_t j = 0; j < columns; ++j) {
    sums[j] =
        pack_column(w, weight, (row + j) * each, w.scales[row + j], panel + j * b_word, width);
  }
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
  const auto* const scales = reinterpret_cast<const float*>(packed + w.scales_at);
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
  w.scales_at = plan.packed_bytes;
  w.bytes = round_up(plan.packed_bytes + plan.desc.n * 4, 64);
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
